// Command tiles reads a published log (C2SP tlog-tiles) with code that is not Vitne's: the client and fsck packages of
// github.com/transparency-dev/tessera. It walks the whole log, verifies the witnesses' cosignatures, proves the first
// and the last entry from tiles, and prints one line. It ends with 1 and a reason when anything does not hold.
package main

import (
	"context"
	"flag"
	"fmt"
	"net/url"
	"os"
	"strings"

	formats "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
	"golang.org/x/mod/sumdb/note"
)

func main() {
	prefix := flag.String("url", "", "the log's prefix")
	key := flag.String("key", "", "the log's verifier key, whose name is the origin")
	witnesses := flag.String("witnesses", "", "verifier keys of witnesses, all of which have to have cosigned; comma-separated")
	flag.Parse()
	if err := check(context.Background(), *prefix, *key, strings.Split(*witnesses, ",")); err != nil {
		fmt.Fprintf(os.Stderr, "%v\n", err)
		os.Exit(1)
	}
}

func check(ctx context.Context, prefix, key string, witnesses []string) error {
	root, err := url.Parse(prefix)
	if err != nil {
		return fmt.Errorf("the prefix: %w", err)
	}
	verifier, err := note.NewVerifier(key)
	if err != nil {
		return fmt.Errorf("the log's key: %w", err)
	}
	fetcher, err := client.NewHTTPFetcher(root, nil)
	if err != nil {
		return err
	}
	if err := fsck.New(verifier.Name(), verifier, fetcher, leafHashes, fsck.Opts{N: 2}).Check(ctx); err != nil {
		return fmt.Errorf("fsck: %w", err)
	}
	checkpoint, raw, _, err := client.FetchCheckpoint(ctx, fetcher.ReadCheckpoint, verifier, verifier.Name())
	if err != nil {
		return fmt.Errorf("the checkpoint: %w", err)
	}
	cosigned, err := countCosignatures(raw, witnesses)
	if err != nil {
		return err
	}
	builder, err := client.NewProofBuilder(ctx, checkpoint.Size, fetcher.ReadTile)
	if err != nil {
		return err
	}
	for _, index := range []uint64{0, checkpoint.Size - 1} {
		leaves, err := client.FetchLeafHashes(ctx, fetcher.ReadTile, index, 1, checkpoint.Size)
		if err != nil {
			return fmt.Errorf("leaf %d: %w", index, err)
		}
		path, err := builder.InclusionProof(ctx, index)
		if err != nil {
			return fmt.Errorf("the path of leaf %d: %w", index, err)
		}
		err = proof.VerifyInclusion(rfc6962.DefaultHasher, index, checkpoint.Size, leaves[0], path, checkpoint.Hash)
		if err != nil {
			return fmt.Errorf("the proof of leaf %d: %w", index, err)
		}
	}
	fmt.Printf("tessera: %d leaves of %s hold, %d witnesses cosigned\n", checkpoint.Size, verifier.Name(), cosigned)
	return nil
}

// leafHashes answers the leaf hashes of an entry bundle.
func leafHashes(data []byte) ([][]byte, error) {
	bundle := &api.EntryBundle{}
	if err := bundle.UnmarshalText(data); err != nil {
		return nil, err
	}
	hashes := make([][]byte, len(bundle.Entries))
	for i, entry := range bundle.Entries {
		hashes[i] = rfc6962.DefaultHasher.HashLeaf(entry)
	}
	return hashes, nil
}

// countCosignatures verifies that every witness cosigned, and answers how many there are.
func countCosignatures(raw []byte, witnesses []string) (int, error) {
	count := 0
	for _, key := range witnesses {
		if key == "" {
			continue
		}
		verifier, err := formats.NewVerifierForCosignatureV1(key)
		if err != nil {
			return 0, fmt.Errorf("a witness's key: %w", err)
		}
		if _, err := note.Open(raw, note.VerifierList(verifier)); err != nil {
			return 0, fmt.Errorf("the cosignature of %s: %w", verifier.Name(), err)
		}
		count++
	}
	return count, nil
}
