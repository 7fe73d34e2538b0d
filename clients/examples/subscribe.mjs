// Reads a hub's topic and fetches by handle, knowing only proto/ and docs/events.md.
// Prints one JSON line for each credential and for each registration that ended; ends when --expect of them are there, and fails after --timeout seconds.
import { randomUUID } from "node:crypto";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";
import { Consumer, MessagesStreamModes } from "@platformatic/kafka";
import protobuf from "protobufjs";

const { values: options } = parseArgs({
  options: Object.fromEntries(
    Object.entries({ bootstrap: "", topic: "", issuer: "", token: "", expect: "1", timeout: "60" }).map(
      ([name, value]) => [name, { type: "string", default: value }],
    ),
  ),
});
setTimeout(() => fail(`fewer than ${options.expect} credentials within ${options.timeout} s`), options.timeout * 1000).unref();

// The contract. google/rpc/status.proto is the only file from elsewhere; `make stubs` lays it beside.
const includeDirs = ["proto", "build/proto-deps"].map((path) => fileURLToPath(new URL(`../../${path}`, import.meta.url)));
const load = { includeDirs, keepCase: true, enums: String, longs: String, defaults: true };
const contract = grpc.loadPackageDefinition(protoLoader.loadSync("vitne/issuer/v1/issuer.proto", load)).vitne;
const root = new protobuf.Root();
root.resolvePath = (_, target) => (target.startsWith("google/protobuf/") ? target : `${includeDirs[0]}/${target}`);
const Notice = root.loadSync("vitne/events/v1/events.proto").lookupType("vitne.events.v1.HubCredentialNotice");

const issuer = new contract.issuer.v1.IssuerService(options.issuer, grpc.credentials.createInsecure());
const authorization = new grpc.Metadata();
authorization.set("authorization", `Bearer ${options.token}`);
const fetchCredentials = (handles) =>
  new Promise((resolve, reject) =>
    issuer.FetchCredentials({ handles }, authorization, { deadline: Date.now() + 10_000 }, (error, answer) =>
      error ? reject(error) : resolve(answer.credentials),
    ),
  );

const consumer = new Consumer({
  groupId: `interop-${randomUUID()}`,
  clientId: "interop",
  bootstrapBrokers: options.bootstrap.split(","),
  autocommit: false,
  // The least that Apache Kafka allows. The development broker lets a group wait for its whole rebalance timeout.
  sessionTimeout: 6000,
  rebalanceTimeout: 6000,
  heartbeatInterval: 2000,
  maxWaitTime: 100,
});
const stream = await consumer.consume({ topics: [options.topic], mode: MessagesStreamModes.EARLIEST });
const seen = new Set();
for await (const record of stream) {
  const notice = Notice.toObject(Notice.decode(record.value), { enums: String });
  if (record.key.toString() !== notice.pseudonym) fail("a record's key is not its learner's pseudonym");
  if (notice.notice === "HUB_NOTICE_REGISTRATION_ENDED") {
    console.log(JSON.stringify({ notice: notice.notice, pseudonym: notice.pseudonym }));
    continue;
  }
  if (notice.notice === "HUB_NOTICE_WITHDRAWN") continue;
  for (const { handle, credential } of await fetchCredentials([notice.handle])) {
    if (!credential) continue; // withdrawn since
    console.log(JSON.stringify({ handle, notice: notice.notice, kind: credential.kind, provider: credential.provider, status: credential.status, digest: credential.digest, bytes: credential.artefact.length }));
    seen.add(handle);
  }
  if (seen.size >= Number(options.expect)) break;
}
await stream.close();
await consumer.close(true);
issuer.close();

function fail(message) {
  console.error(message);
  process.exit(1);
}
