// Command witnessed keeps a log of its own with code that is not Vitne's: the POSIX storage and the witness client of
// github.com/transparency-dev/tessera. It adds leaves, waits until a checkpoint of all leaves is published, or until
// Tessera said often enough that it published none, and prints one line of JSON: what is published, what witnesses
// answered and what Tessera said. It ends with 1 and a reason when that could not be found out.
package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"
	"k8s.io/klog/v2"
)

const (
	// batchAge is how long leaves wait for others.
	batchAge = 50 * time.Millisecond
	// publishInterval is how often a checkpoint is published, or tried again.
	publishInterval = 200 * time.Millisecond
	// pollInterval is how often is looked what came of it.
	pollInterval = 20 * time.Millisecond
	// notPublished is what Tessera logs where a checkpoint is not published.
	notPublished = "publishCheckpoint: "
)

// asked is what the command line says.
type asked struct {
	folder, key, policy, text string
	leaves, refusals          uint
	patience                  time.Duration
}

// answer is what a witness said to a request; a status of 0: nothing.
type answer struct {
	Witness string `json:"witness"`
	Old     string `json:"old"`
	Status  int    `json:"status"`
}

// report is what came of it.
type report struct {
	Leaves     uint64   `json:"leaves"`
	Published  bool     `json:"published"`
	Satisfied  bool     `json:"satisfied"`
	Checkpoint string   `json:"checkpoint"`
	Answers    []answer `json:"answers"`
	Said       []string `json:"said"`
}

func main() {
	var ask asked
	origin := flag.String("new-key", "", "print a new key pair of that name, and nothing else")
	flag.StringVar(&ask.folder, "folder", "", "where the log is kept")
	flag.StringVar(&ask.key, "key", "", "file with the log's signer key and, on a second line, its verifier key")
	flag.StringVar(&ask.policy, "policy", "", "file with the witnesses and the quorum that a checkpoint has to have; without it, none")
	flag.StringVar(&ask.text, "text", "leaf", "of the leaves, before their number")
	flag.UintVar(&ask.leaves, "leaves", 0, "how many to add")
	flag.UintVar(&ask.refusals, "refusals", 0, "end once Tessera said that often that it published none; 0: never")
	flag.DurationVar(&ask.patience, "patience", time.Minute, "how long to wait")
	flag.Parse()
	var printed any
	var err error
	if *origin != "" {
		printed, err = newKey(*origin)
	} else {
		printed, err = run(ask)
	}
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(printed)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%v\n", err)
		os.Exit(1)
	}
}

func newKey(origin string) (map[string]string, error) {
	private, public, err := note.GenerateKey(rand.Reader, origin)
	return map[string]string{"private": private, "public": public}, err
}

func run(ask asked) (*report, error) {
	ctx, cancel := context.WithTimeout(context.Background(), ask.patience)
	defer cancel()
	signer, verifier, err := readKeys(ask.key)
	if err != nil {
		return nil, err
	}
	options := tessera.NewAppendOptions().
		WithCheckpointSigner(signer).
		WithBatching(tessera.DefaultBatchMaxSize, batchAge).
		WithCheckpointInterval(publishInterval)
	var quorum tessera.WitnessGroup // of nobody
	if ask.policy != "" {
		text, err := os.ReadFile(ask.policy)
		if err != nil {
			return nil, err
		}
		if quorum, err = tessera.NewWitnessGroupFromPolicy(text); err != nil {
			return nil, fmt.Errorf("the policy: %w", err)
		}
		options = options.WithWitnesses(quorum, nil)
	}
	heard, said := &hearing{}, &saying{}
	klog.SetSlogLogger(slog.New(said))
	driver, err := posix.New(ctx, posix.Config{Path: ask.folder, HTTPClient: &http.Client{Transport: heard}})
	if err != nil {
		return nil, err
	}
	appender, shutdown, reader, err := tessera.NewAppender(ctx, driver, options)
	if err != nil {
		return nil, err
	}
	if err := add(ctx, appender, ask); err != nil {
		return nil, err
	}
	made := &report{}
	if made.Leaves, err = reader.IntegratedSize(ctx); err != nil {
		return nil, err
	}
	// What was refused before there were all leaves is not meant.
	before := said.count(notPublished)
	for {
		checkpoint, raw, _, err := client.FetchCheckpoint(ctx, reader.ReadCheckpoint, verifier, verifier.Name())
		switch {
		case err == nil:
			made.Checkpoint, made.Satisfied = string(raw), quorum.Satisfied(raw)
			made.Published = checkpoint.Size == made.Leaves
		case !errors.Is(err, os.ErrNotExist):
			return nil, fmt.Errorf("the checkpoint: %w", err)
		}
		if made.Published || ask.refusals > 0 && said.count(notPublished)-before >= int(ask.refusals) {
			break
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("no checkpoint of %d leaves was published within %v; Tessera said:\n%s",
				made.Leaves, ask.patience, strings.Join(said.all(), "\n"))
		case <-time.After(pollInterval):
		}
	}
	if made.Published {
		if err := shutdown(ctx); err != nil {
			return nil, fmt.Errorf("the log's end: %w", err)
		}
	}
	made.Answers, made.Said = heard.all(), said.all()
	return made, nil
}

// readKeys reads what newKey made.
func readKeys(file string) (note.Signer, note.Verifier, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, err
	}
	private, public, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
	signer, err := note.NewSigner(private)
	if err != nil {
		return nil, nil, fmt.Errorf("the signer key: %w", err)
	}
	verifier, err := note.NewVerifier(public)
	if err != nil {
		return nil, nil, fmt.Errorf("the verifier key: %w", err)
	}
	return signer, verifier, nil
}

// add adds leaves in their order, and returns when all are in the tree.
func add(ctx context.Context, appender *tessera.Appender, ask asked) error {
	futures := make([]tessera.IndexFuture, ask.leaves)
	for i := range futures {
		futures[i] = appender.Add(ctx, tessera.NewEntry(fmt.Appendf(nil, "%s %d", ask.text, i)))
	}
	for _, future := range futures {
		if _, err := future(); err != nil {
			return fmt.Errorf("a leaf: %w", err)
		}
	}
	return nil
}

// hearing sends requests to witnesses, and keeps what they answer.
type hearing struct {
	mu      sync.Mutex
	answers []answer
}

// RoundTrip implements http.RoundTripper.
func (h *hearing) RoundTrip(request *http.Request) (*http.Response, error) {
	body, err := request.GetBody()
	if err != nil {
		return nil, err
	}
	first, err := bufio.NewReader(body).ReadString('\n')
	if err != nil {
		return nil, err
	}
	heard := answer{Witness: request.URL.Host, Old: strings.TrimSpace(strings.TrimPrefix(first, "old "))}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err == nil {
		heard.Status = response.StatusCode
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.answers = append(h.answers, heard)
	return response, err
}

func (h *hearing) all() []answer {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]answer{}, h.answers...)
}

// saying keeps what Tessera logs.
type saying struct {
	mu    sync.Mutex
	lines []string
}

// Enabled implements slog.Handler.
func (s *saying) Enabled(context.Context, slog.Level) bool { return true }

// Handle implements slog.Handler.
func (s *saying) Handle(_ context.Context, record slog.Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, record.Message)
	return nil
}

// WithAttrs implements slog.Handler.
func (s *saying) WithAttrs([]slog.Attr) slog.Handler { return s }

// WithGroup implements slog.Handler.
func (s *saying) WithGroup(string) slog.Handler { return s }

func (s *saying) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string{}, s.lines...)
}

// count answers how many lines begin like that.
func (s *saying) count(prefix string) int {
	count := 0
	for _, line := range s.all() {
		if strings.HasPrefix(line, prefix) {
			count++
		}
	}
	return count
}
