// Other implementations of the same specifications, Digital Bazaar's and the OpenWallet Foundation's, asked by
// tests/interop/credentials.py.
// Reads one job as JSON from standard input, writes the answers as JSON to standard output.

import * as EcdsaMultikey from '@digitalbazaar/ecdsa-multikey';
import * as Ed25519Multikey from '@digitalbazaar/ed25519-multikey';
import * as sd from '@digitalbazaar/ecdsa-sd-2023-cryptosuite';
import * as vc from '@digitalbazaar/vc';
import {createHash, createPrivateKey, createPublicKey, randomBytes, sign, verify} from 'node:crypto';
import {DataIntegrityProof} from '@digitalbazaar/data-integrity';
import {cryptosuite as eddsa} from '@digitalbazaar/eddsa-rdfc-2022-cryptosuite';
import {SDJwtInstance} from '@sd-jwt/core';
import {canonize} from 'rdf-canonize';

const NQUADS = 'application/n-quads';
const job = JSON.parse(await new Response(process.stdin).text());
const now = new Date(job.now);

// Everything that is named by a URL is in the job: nothing is fetched.
async function documentLoader(url) {
  const document = job.documents[url];
  if (document === undefined) {
    throw new Error(`nobody gave ${url}`);
  }
  return {contextUrl: null, documentUrl: url, document};
}

async function verified(credential) {
  const partial = credential.proof.cryptosuite === 'ecdsa-sd-2023';
  const cryptosuite = partial ? sd.createVerifyCryptosuite() : eddsa;
  const {verified, error} = await vc.verifyCredential({
    credential,
    suite: new DataIntegrityProof({cryptosuite}),
    documentLoader,
    checkStatus: async () => ({verified: true}),
    now,
  });
  return verified ? '' : JSON.stringify(error?.errors?.map(String) ?? String(error));
}

async function issued(credential) {
  const keyPair = await Ed25519Multikey.from(job.key);
  const suite = new DataIntegrityProof({signer: keyPair.signer(), date: job.now, cryptosuite: eddsa});
  return vc.issue({credential, suite, documentLoader, now});
}

async function disclosed(verifiableCredential, selectivePointers) {
  const suite = new DataIntegrityProof({cryptosuite: sd.createDiscloseCryptosuite({selectivePointers})});
  return vc.derive({verifiableCredential, suite, documentLoader});
}

async function issuedInParts({credential, mandatory, selective}) {
  const keyPair = await EcdsaMultikey.from(job.ecdsaKey);
  const cryptosuite = sd.createSignCryptosuite({mandatoryPointers: mandatory});
  const suite = new DataIntegrityProof({signer: keyPair.signer(), date: job.now, cryptosuite});
  return disclosed(await vc.issue({credential, suite, documentLoader, now}), selective);
}

async function canonical(dataset) {
  return canonize(dataset, {algorithm: 'RDFC-1.0', inputFormat: NQUADS, format: NQUADS, maxWorkFactor: 3});
}

// ES256 as JOSE writes it (RFC 7518, section 3.4), and no other algorithm.
const es256 = {
  sign: jwk => data =>
    sign('sha256', Buffer.from(data), {key: createPrivateKey({key: jwk, format: 'jwk'}), dsaEncoding: 'ieee-p1363'}).toString(
      'base64url',
    ),
  verify: (jwk, data, signature) =>
    verify(
      'sha256',
      Buffer.from(data),
      {key: createPublicKey({key: jwk, format: 'jwk'}), dsaEncoding: 'ieee-p1363'},
      Buffer.from(signature, 'base64url'),
    ),
};

function sdJwts(keys) {
  return new SDJwtInstance({
    hasher: (data, algorithm) => createHash(algorithm.replace('-', '')).update(data).digest(),
    hashAlg: 'sha-256',
    omitTyp: true,
    saltGenerator: length => randomBytes(length).toString('base64url'),
    signAlg: 'ES256',
    ...keys,
  });
}

// The claims that are shown, or why it is not believed.
async function sdJwtVerified({compact, issuer, nonce}) {
  const instance = sdJwts({
    verifier: (data, signature) => es256.verify(issuer, data, signature),
    kbVerifier: (data, signature, payload) => es256.verify(payload.cnf.jwk, data, signature),
  });
  const options = {currentDate: now.getTime() / 1000, ...(nonce && {keyBindingNonce: nonce})};
  try {
    return {claims: (await instance.verify(compact, options)).payload};
  } catch (error) {
    return {refused: String(error)};
  }
}

// Issued with everything disclosable that is named, and shown with some of it.
async function sdJwtIssued({claims, header, issuer, disclosable, shown}) {
  const instance = sdJwts({signer: es256.sign(issuer)});
  const whole = await instance.issue(claims, {_sd: disclosable}, {header});
  const frame = Object.fromEntries(shown.map(name => [name, true]));
  return {whole, part: await instance.present(whole, frame)};
}

async function all(questions, answer) {
  const answers = [];
  for (const question of questions) {
    answers.push(await answer(question));
  }
  return answers;
}

process.stdout.write(
  JSON.stringify({
    verified: await all(job.verify, verified),
    issued: await all(job.issue, issued),
    disclosed: await all(job.disclose, ({secured, selective}) => disclosed(secured, selective)),
    issuedInParts: await all(job.issueInParts, issuedInParts),
    canonical: await all(job.canonize, canonical),
    sdJwtsVerified: await all(job.verifySdJwts, sdJwtVerified),
    sdJwtIssued: await sdJwtIssued(job.issueSdJwt),
  }),
);
