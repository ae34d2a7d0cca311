// npm's jose and protobufjs as a caller that seals content by docs/sealed-content.md, and as one that opens it.
// Orders are a JSON object on the command line; the answer is one JSON object on standard output.
'use strict';
const crypto = require('crypto');
const path = require('path');
const jose = require('jose');
const protobuf = require('protobufjs');

const orders = JSON.parse(process.argv[2]);
const root = new protobuf.Root();
root.resolvePath = (origin, target) => {
  const known = protobuf.common.get(target);
  return known ? target : path.join(orders.protos, target);
};
const SealedContent = root.loadSync('smsgw/v1/message.proto').lookupType('smsgw.v1.SealedContent');

async function seal({jwk, tenant, recipient, idempotencyKey, expires, text}) {
  const salt = crypto.getRandomValues(new Uint8Array(16));
  const to = crypto.createHash('sha256').update('smsgw.to\0').update(salt).update(recipient).digest('base64url');
  const header = {
    alg: jwk.alg, enc: 'A256GCM', kid: jwk.kid, 'smsgw.tenant': tenant, 'smsgw.to': to,
    'smsgw.key': idempotencyKey, 'smsgw.exp': expires,
  };
  const inside = SealedContent.encode({recipientSalt: salt, content: {text}}).finish();
  const jwe = await new jose.CompactEncrypt(inside)
    .setProtectedHeader(header).encrypt(await jose.importJWK(jwk, jwk.alg));
  return {jwe};
}

async function open({jwk, jwe}) {
  const {plaintext, protectedHeader} = await jose.compactDecrypt(jwe, await jose.importJWK(jwk, jwk.alg));
  const sealed = SealedContent.decode(plaintext);
  return {header: protectedHeader, salt: Buffer.from(sealed.recipientSalt).toString('hex'), text: sealed.content.text};
}

({seal, open})[orders.action](orders).then(
  (answer) => console.log(JSON.stringify(answer)),
  (error) => console.log(JSON.stringify({error: String(error)})),
);
