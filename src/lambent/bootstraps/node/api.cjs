// One keep-alive connection to the Runtime API.
//
// It reads what Lambent's own server writes, and asks for the next event with the response to the
// last (?next, which the official API does not know): one message each way per invocation.

'use strict';

const net = require('node:net');

const API = '/2018-06-01/runtime/';
const END = Buffer.from('\r\n\r\n');
const STREAMED = [
  'Lambda-Runtime-Function-Response-Mode: streaming',
  'Transfer-Encoding: chunked',
  'Trailer: Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body',
  '',
].join('\r\n');

class RuntimeApi {
  constructor(address, descriptor) {
    this.host = `Host: ${address}\r\n`;
    this.waiting = null;
    this.chunks = [];
    this.size = 0;
    const [host, port] = address.split(':');
    this.socket = descriptor >= 0
      ? new net.Socket({ fd: descriptor, readable: true, writable: true })
      : net.connect({ host, port: Number(port), noDelay: true });
    this.socket.on('data', (chunk) => this.receive(chunk));
    const gone = () => process.exit(0); // the environment is being taken down
    this.socket.on('end', gone);
    this.socket.on('error', gone);
  }

  /** Whether waiting for the API keeps the process alive. */
  hold(held) {
    if (held) this.socket.ref();
    else this.socket.unref();
  }

  /** The next invocation: its headers and its event. */
  async next() {
    this.socket.write(`GET ${API}invocation/next HTTP/1.1\r\n${this.host}\r\n`);
    return this.answer();
  }

  /** Post a response; resolves to the next invocation. */
  respond(id, body) {
    this.post(`invocation/${id}/response?next`, '', body);
    return this.answerOrNext();
  }

  /** Post an error; resolves to the next invocation. */
  fail(id, error) {
    this.post(`invocation/${id}/error?next`, errorType(error), JSON.stringify(error));
    return this.answerOrNext();
  }

  /** Post an error and ask for nothing more. */
  report(id, error) {
    this.hold(true);
    this.post(`invocation/${id}/error`, errorType(error), JSON.stringify(error));
    return this.answer();
  }

  failInitialisation(error) {
    this.post('init/error', errorType(error), JSON.stringify(error));
    return this.answer();
  }

  /** Begin a response that follows in pieces. */
  begin(id, contentType) {
    this.socket.write(
      `POST ${API}invocation/${id}/response?next HTTP/1.1\r\n${this.host}` +
      `Content-Type: ${contentType}\r\n${STREAMED}\r\n`);
  }

  piece(data, done) {
    if (data.length === 0) {
      done();
      return;
    }
    this.socket.cork();
    this.socket.write(`${data.length.toString(16)}\r\n`);
    this.socket.write(data);
    this.socket.write('\r\n', done);
    this.socket.uncork();
  }

  /** End such a response, with an error if there was one; resolves to the next invocation. */
  end(error) {
    let trailers = '';
    if (error) {
      const text = Buffer.from(JSON.stringify(error)).toString('base64');
      trailers = `${errorType(error)}Lambda-Runtime-Function-Error-Body: ${text}\r\n`;
    }
    this.socket.write(`0\r\n${trailers}\r\n`);
    return this.answerOrNext();
  }

  post(path, extra, body) {
    const head = `POST ${API}${path} HTTP/1.1\r\n${this.host}${extra}` +
      `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n`;
    if (body.length < 65536) {
      this.socket.write(head + body);
    } else {
      this.socket.write(head);
      this.socket.write(body);
    }
  }

  async answerOrNext() {
    const answer = await this.answer();
    if (answer.status === 200) return answer;
    if (answer.status === 413) process.stderr.write(`${answer.body}\n`);
    else if (answer.status >= 500) process.exit(1);
    return this.next();
  }

  answer() {
    return new Promise((resolve) => {
      this.waiting = resolve;
      this.parse();
    });
  }

  receive(chunk) {
    this.chunks.push(chunk);
    this.size += chunk.length;
    if (this.size >= (this.needed ?? 0)) this.parse();
  }

  parse() {
    if (this.waiting === null || this.size === 0) return;
    const buffer = this.chunks.length === 1 ? this.chunks[0] : Buffer.concat(this.chunks, this.size);
    this.chunks = [buffer];
    const end = buffer.indexOf(END);
    if (end < 0) return;
    const [first, ...lines] = buffer.toString('latin1', 0, end).split('\r\n');
    const headers = {};
    for (const line of lines) {
      const colon = line.indexOf(': ');
      headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 2);
    }
    const stop = end + 4 + Number(headers['content-length']);
    if (buffer.length < stop) {
      this.needed = stop;
      return;
    }
    this.needed = 0;
    const rest = buffer.subarray(stop);
    this.chunks = rest.length ? [rest] : [];
    this.size = rest.length;
    const resolve = this.waiting;
    this.waiting = null;
    resolve({ status: Number(first.slice(9, 12)), headers, body: buffer.subarray(end + 4, stop) });
  }
}

function errorType(error) {
  const kind = String(error.errorType).replace(/[^ -~]/g, '').slice(0, 256);
  return `Lambda-Runtime-Function-Error-Type: ${kind}\r\n`;
}

module.exports = { RuntimeApi };
