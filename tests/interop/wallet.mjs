// Takes a credential with a wallet's library that is not ours, the OpenWallet Foundation's, by what the offer says alone:
//   node wallet.mjs OFFER TX_CODE
// Before it gives the right transaction code it gives a wrong one. Writes {refused, format, credential} as JSON.

import {createHash, randomBytes} from 'node:crypto';
import {Openid4vciClient, setGlobalConfig} from '@openid4vc/openid4vci';

const [offer, txCode] = process.argv.slice(2);

// The embedded stack has no TLS unless it is asked to.
setGlobalConfig({allowInsecureUrls: true});

function notAsked(name) {
  return () => {
    throw new Error(`the flow needs no ${name}`);
  };
}

const client = new Openid4vciClient({
  callbacks: {
    clientAuthentication: () => {}, // anonymous: pre-authorized_grant_anonymous_access_supported
    hash: (data, algorithm) => createHash(algorithm.replace('-', '')).update(data).digest(),
    generateRandom: length => randomBytes(length),
    signJwt: notAsked('signature'),
    verifyJwt: notAsked('signature'),
    decryptJwe: notAsked('encryption'),
    encryptJwe: notAsked('encryption'),
  },
});

const credentialOffer = await client.resolveCredentialOffer(offer);
const issuerMetadata = await client.resolveIssuerMetadata(credentialOffer.credential_issuer);
const [credentialConfigurationId] = credentialOffer.credential_configuration_ids;

async function granted(code) {
  return client.retrievePreAuthorizedCodeAccessTokenFromOffer({credentialOffer, issuerMetadata, txCode: code});
}

const wrong = String((Number(txCode) + 1) % 10 ** txCode.length).padStart(txCode.length, '0');
const refused = await granted(wrong).then(
  () => '',
  error => error.errorResponse?.error ?? String(error),
);
const {accessTokenResponse} = await granted(txCode);
const {credentialResponse} = await client.retrieveCredentials({
  issuerMetadata,
  accessToken: accessTokenResponse.access_token,
  credentialConfigurationId,
});
const [{credential}] = credentialResponse.credentials;
const {format} = issuerMetadata.credentialIssuer.credential_configurations_supported[credentialConfigurationId];
process.stdout.write(JSON.stringify({refused, format, credential}));
