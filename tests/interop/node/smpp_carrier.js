// A carrier made of node-smpp: takes binds and submit_sm over TLS, tells what it read, sends receipts and inbound texts.
//
//   node smpp_carrier.js '{"certificate": FILE, "key": FILE, "system_id": "...", "password": "..."}'
//
// With "max_version": "TLSv1.1" or "TLSv1.2" it has nothing newer.
//
// Speaks JSON lines. Out: {"event": "listening", "port"}, {"event": "bound", ...}, {"event": "part", ...} for each
// submit_sm, {"event": "message", "text", ...} when all parts of a text are there, {"event": "receipt_answered", ...},
// {"event": "inbound_answered", ...}. In: {"inbound": {"from", "to", "text"}}. Ends when its standard input does.
'use strict';

const fs = require('fs');
const readline = require('readline');
const smpp = require('smpp');

const options = JSON.parse(process.argv[2]);
const sessions = new Set();
const groups = new Map();
let lastId = 0;

function tell(event, fields) {
  process.stdout.write(JSON.stringify({ event, ...fields }) + '\n');
}

// The concatenation header of a part: 8-bit or 16-bit reference (3GPP TS 23.040 §9.2.3.24.1, §9.2.3.24.8).
function concatenation(udh) {
  for (const element of udh || []) {
    if (element[0] === 0x00) return { reference: element[2], total: element[3], part: element[4] };
    if (element[0] === 0x08) return { reference: element.readUInt16BE(2), total: element[4], part: element[5] };
  }
  return { reference: null, total: 1, part: 1 };
}

function join(pdu, where, text) {
  const key = [pdu.source_addr, pdu.destination_addr, where.reference].join('/');
  const parts = groups.get(key) || new Map();
  groups.set(key, parts.set(where.part, text));
  if (parts.size < where.total) return null;
  groups.delete(key);
  return [...parts.keys()].sort((a, b) => a - b).map((part) => parts.get(part)).join('');
}

function receiptText(id) {
  const now = new Date().toISOString().replace(/[-T:]/g, '').slice(2, 12); // YYMMDDhhmm, UTC
  return `id:${id} sub:001 dlvrd:001 submit date:${now} done date:${now} stat:DELIVRD err:000 text:`;
}

function sendReceipt(session, pdu, id) {
  const receiver = session.receives ? session : [...sessions].find((each) => each.receives);
  receiver.deliver_sm(
    {
      source_addr_ton: pdu.dest_addr_ton,
      source_addr_npi: pdu.dest_addr_npi,
      source_addr: pdu.destination_addr,
      destination_addr: pdu.source_addr,
      esm_class: 0x04,
      short_message: receiptText(id),
      receipted_message_id: id,
      message_state: 2,
    },
    (answer) => tell('receipt_answered', { id, status: answer.command_status }),
  );
}

function onSubmit(session, pdu) {
  const id = (++lastId).toString(16).padStart(8, '0');
  const { udh, message } = pdu.short_message;
  const where = concatenation(udh);
  const tlvs = {};
  for (const [name, value] of Object.entries(pdu)) if (name in smpp.tlvs) tlvs[name] = Buffer.isBuffer(value) ? value.toString('hex') : value;
  tell('part', { id, ...where, data_coding: pdu.data_coding, registered_delivery: pdu.registered_delivery, text: message, tlvs });
  session.send(pdu.response({ message_id: id }));
  if (pdu.registered_delivery & 3) setTimeout(() => sendReceipt(session, pdu, id), 20);
  const text = join(pdu, where, message);
  if (text === null) return;
  tell('message', {
    text,
    parts: where.total,
    data_coding: pdu.data_coding,
    source: { ton: pdu.source_addr_ton, npi: pdu.source_addr_npi, address: pdu.source_addr },
    destination: { ton: pdu.dest_addr_ton, npi: pdu.dest_addr_npi, address: pdu.destination_addr },
  });
}

// What is asked about a message, or sent otherwise: told with its fields, and answered.
function onRequest(session, pdu, fields) {
  const { message_id: id, source_addr: source, destination_addr: destination } = pdu;
  const text = pdu.short_message ? pdu.short_message.message : pdu.message_payload && pdu.message_payload.message;
  tell('request', { kind: pdu.command, id, source, destination, text });
  session.send(pdu.response(fields));
}

function onBind(session, pdu) {
  if (pdu.system_id !== options.system_id || pdu.password !== options.password) {
    session.send(pdu.response({ command_status: smpp.ESME_RBINDFAIL }));
    return;
  }
  sessions.add(session);
  session.receives = pdu.command !== 'bind_transmitter';
  tell('bound', { kind: pdu.command, system_id: pdu.system_id, interface_version: pdu.interface_version, tls: session.socket.getProtocol() });
  session.send(pdu.response({ system_id: 'node-smpp' }));
}

const server = smpp.createServer(
  {
    key: fs.readFileSync(options.key),
    cert: fs.readFileSync(options.certificate),
    minVersion: options.max_version ? 'TLSv1' : 'TLSv1.2',
    maxVersion: options.max_version || 'TLSv1.3',
    ciphers: options.max_version ? 'ALL:@SECLEVEL=0' : undefined, // TLS 1.1 has no signature that level 1 takes
  },
  (session) => {
    for (const kind of ['bind_transceiver', 'bind_transmitter', 'bind_receiver']) {
      session.on(kind, (pdu) => onBind(session, pdu));
    }
    session.on('query_sm', (pdu) => onRequest(session, pdu, { message_id: pdu.message_id, message_state: 2 }));
    session.on('cancel_sm', (pdu) => onRequest(session, pdu, {}));
    session.on('replace_sm', (pdu) => onRequest(session, pdu, { command_status: smpp.ESME_RREPLACEFAIL }));
    session.on('data_sm', (pdu) => onRequest(session, pdu, { message_id: 'data-1' }));
    session.on('submit_sm', (pdu) => onSubmit(session, pdu));
    session.on('enquire_link', (pdu) => session.send(pdu.response()));
    session.on('unbind', (pdu) => session.send(pdu.response(), () => session.close()));
    session.on('error', (error) => tell('error', { text: String(error) }));
    session.on('close', () => sessions.delete(session));
  },
);
server.on('tlsClientError', (error) => tell('tls_refused', { text: String(error) }));
server.listen(0, '127.0.0.1', () => tell('listening', { port: server.address().port }));

readline
  .createInterface({ input: process.stdin })
  .on('line', (line) => {
    const { from, to, text } = JSON.parse(line).inbound;
    const session = [...sessions].find((each) => each.receives);
    session.deliver_sm(
      {
        source_addr_ton: 1,
        source_addr_npi: 1,
        source_addr: from,
        dest_addr_ton: 1,
        dest_addr_npi: 1,
        destination_addr: to,
        // 0: the carrier's default alphabet, GSM; null: node-smpp chooses. By itself it would write GSM octets and call
        // them data_coding 1, which is IA5 (SMPP 3.4 §5.2.19).
        data_coding: smpp.encodings.ASCII.match(text) ? 0 : null,
        short_message: text,
      },
      (answer) => tell('inbound_answered', { status: answer.command_status }),
    );
  })
  .on('close', () => process.exit(0));
