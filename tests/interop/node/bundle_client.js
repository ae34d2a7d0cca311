// Fetches a bundle as a client of the web does, and reads every key of it with Node's own JWK and X.509 parsers.
// argv: address, port, host name, file of roots. Prints one JSON object.
'use strict';

const crypto = require('node:crypto');
const fs = require('node:fs');
const https = require('node:https');

const [address, port, host, roots] = process.argv.slice(2);
const options = {
  host: address, port: Number(port), servername: host, path: '/bundle.json', ca: fs.readFileSync(roots), agent: false,
};

https.get(options, (response) => {
  let text = '';
  response.setEncoding('utf8');
  response.on('data', (piece) => { text += piece; });
  response.on('end', () => {
    const bundle = JSON.parse(text);
    const found = { status: response.statusCode, type: response.headers['content-type'], x509: 0, jwt: [] };
    for (const jwk of bundle.keys) {
      const key = crypto.createPublicKey({ key: jwk, format: 'jwk' });
      if (jwk.use === 'jwt-svid') found.jwt.push(jwk.kid);
      if (jwk.use !== 'x509-svid') continue;
      const certificate = new crypto.X509Certificate(Buffer.from(jwk.x5c[0], 'base64'));
      if (!certificate.ca || !certificate.publicKey.equals(key)) throw new Error('the certificate is not of this key');
      found.x509 += 1;
    }
    found.sequence = bundle.spiffe_sequence;
    found.hint = bundle.spiffe_refresh_hint;
    console.log(JSON.stringify(found));
  });
});
