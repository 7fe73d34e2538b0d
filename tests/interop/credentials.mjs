// Other implementations of the same specifications, Digital Bazaar's and the OpenWallet Foundation's, asked by
// tests/interop/credentials.py.
// Reads one job as JSON from standard input, writes the answers as JSON to standard output.

import * as EcdsaMultikey from '@digitalbazaar/ecdsa-multikey';
import * as Ed25519Multikey from '@digitalbazaar/ed25519-multikey';
import * as sd from '@digitalbazaar/ecdsa-sd-2023-cryptosuite';
import * as vc from '@digitalbazaar/vc';
import {createHash, createPrivateKey, createPublicKey, randomBytes, sign, verify, X509Certificate} from 'node:crypto';
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
  verify: (jwk, data, signature) => es256.verifyWith(createPublicKey({key: jwk, format: 'jwk'}), data, signature),
  verifyWith: (key, data, signature) =>
    verify('sha256', Buffer.from(data), {key, dsaEncoding: 'ieee-p1363'}, Buffer.from(signature, 'base64url')),
};

// The key of a token's first certificate, which leads to the anchor and is for its issuer: what a wallet asks under the High
// Assurance Interoperability Profile, section 6.1.1, with OpenSSL's eyes.
function certified(header, anchor, issuer) {
  const authority = new X509Certificate(Buffer.from(anchor, 'base64'));
  const chain = header.x5c.map(der => new X509Certificate(Buffer.from(der, 'base64')));
  [...chain, authority].slice(1).forEach((above, place) => {
    if (!above.ca || !chain[place].checkIssued(above) || !chain[place].verify(above.publicKey)) {
      throw new Error('the chain does not lead to the anchor');
    }
  });
  if (chain.some(each => each.raw.equals(authority.raw) || now < new Date(each.validFrom) || new Date(each.validTo) < now)) {
    throw new Error('the anchor came along, or a certificate does not hold now');
  }
  if (!chain[0].subjectAltName.split(', ').includes(`URI:${issuer}`)) {
    throw new Error('the certificate is for another issuer');
  }
  return chain[0].publicKey;
}

const read = segment => JSON.parse(Buffer.from(segment, 'base64url').toString());

// The payload of a vc+jwt that its certificates vouch for, or why it is not believed.
function tokenVerified({compact, anchor}) {
  try {
    const [header, payload, signature] = compact.split('.');
    const {alg, typ} = read(header);
    const key = certified(read(header), anchor, read(payload).issuer.id);
    const data = `${header}.${payload}`;
    const holds =
      alg === 'ES256'
        ? es256.verifyWith(key, data, signature)
        : alg === 'Ed25519' && verify(null, Buffer.from(data), key, Buffer.from(signature, 'base64url'));
    return holds && typ === 'vc+jwt' ? {claims: read(payload)} : {refused: 'the signature does not hold'};
  } catch (error) {
    return {refused: String(error)};
  }
}

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
async function sdJwtVerified({compact, issuer, nonce, anchor}) {
  const instance = sdJwts({
    verifier: (data, signature) => {
      if (anchor === undefined) {
        return es256.verify(issuer, data, signature);
      }
      const [header, payload] = data.split('.').map(read);
      return es256.verifyWith(certified(header, anchor, payload.iss), data, signature);
    },
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
    tokensVerified: await all(job.verifyTokens, async question => tokenVerified(question)),
  }),
);
