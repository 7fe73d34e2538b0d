// Digital Bazaar's implementations of the same specifications, asked by tests/interop/credentials.py.
// Reads one job as JSON from standard input, writes the answers as JSON to standard output.

import * as Ed25519Multikey from '@digitalbazaar/ed25519-multikey';
import * as vc from '@digitalbazaar/vc';
import {DataIntegrityProof} from '@digitalbazaar/data-integrity';
import {cryptosuite as eddsa} from '@digitalbazaar/eddsa-rdfc-2022-cryptosuite';
import {canonize} from 'rdf-canonize';

const NQUADS = 'application/n-quads';
const job = JSON.parse(await new Response(process.stdin).text());

// Everything that is named by a URL is in the job: nothing is fetched.
async function documentLoader(url) {
  const document = job.documents[url];
  if (document === undefined) {
    throw new Error(`nobody gave ${url}`);
  }
  return {contextUrl: null, documentUrl: url, document};
}

async function verified(credential) {
  const {verified, error} = await vc.verifyCredential({
    credential,
    suite: new DataIntegrityProof({cryptosuite: eddsa}),
    documentLoader,
    checkStatus: async () => ({verified: true}),
    now: new Date(job.now),
  });
  return verified ? '' : JSON.stringify(error?.errors?.map(String) ?? String(error));
}

async function issued(credential) {
  const keyPair = await Ed25519Multikey.from(job.key);
  return vc.issue({
    credential,
    suite: new DataIntegrityProof({signer: keyPair.signer(), date: job.now, cryptosuite: eddsa}),
    documentLoader,
    now: new Date(job.now),
  });
}

async function canonical(dataset) {
  return canonize(dataset, {algorithm: 'RDFC-1.0', inputFormat: NQUADS, format: NQUADS, maxWorkFactor: 3});
}

const answers = {verified: [], issued: [], canonical: []};
for (const credential of job.verify) {
  answers.verified.push(await verified(credential));
}
for (const credential of job.issue) {
  answers.issued.push(await issued(credential));
}
for (const dataset of job.canonize) {
  answers.canonical.push(await canonical(dataset));
}
process.stdout.write(JSON.stringify(answers));
