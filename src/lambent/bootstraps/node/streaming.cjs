// Streamed responses: awslambda.streamifyResponse and awslambda.HttpResponseStream.

'use strict';

const { Writable } = require('node:stream');
const { STREAMING } = require('./handler.cjs');

const HIGH_WATER_MARK = Symbol.for('aws.lambda.runtime.handler.streaming.highWaterMark');
const HTTP = 'application/vnd.awslambda.http-integration-response';

class ResponseStream extends Writable {
  constructor(api, id, highWaterMark = 64 * 1024) {
    super({ highWaterMark });
    this.api = api;
    this.id = id;
    this.begun = false;
    this.contentType = 'application/octet-stream';
    // What HttpResponseStream puts before the first byte.
    this.prelude = null;
  }

  setContentType(contentType) {
    if (!this.begun) this.contentType = contentType;
  }

  write(chunk, ...rest) {
    const plain = typeof chunk === 'string' || chunk instanceof Uint8Array;
    return super.write(plain ? chunk : JSON.stringify(chunk), ...rest);
  }

  _write(chunk, encoding, done) {
    this.begin();
    this.api.piece(chunk, done);
  }

  _final(done) {
    this.begin();
    done();
  }

  begin() {
    if (this.begun) return;
    this.begun = true;
    this.api.begin(this.id, this.contentType);
    if (this.prelude !== null) {
      this.api.piece(Buffer.from(this.prelude), () => {});
      this.api.piece(Buffer.alloc(8), () => {});
    }
  }

  /** All is written; resolves to the next invocation. */
  answer() {
    return this.api.end(null);
  }

  /** It failed in the middle; resolves to the next invocation. */
  abort(error) {
    this.destroy();
    return this.api.end(error);
  }
}

class HttpResponseStream {
  static from(stream, metadata) {
    stream.setContentType(HTTP);
    stream.prelude = JSON.stringify(metadata);
    return stream;
  }
}

function install() {
  globalThis.awslambda = {
    streamifyResponse(handler, options) {
      handler[STREAMING] = 'response';
      if (options?.highWaterMark !== undefined) {
        handler[HIGH_WATER_MARK] = Number(options.highWaterMark);
      }
      return handler;
    },
    HttpResponseStream,
  };
}

module.exports = { HIGH_WATER_MARK, ResponseStream, install };
