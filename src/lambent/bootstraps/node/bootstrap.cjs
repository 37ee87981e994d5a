// The Node.js runtime: fetches events from the Runtime API and calls the user's handler.
//
// Started in three ways: by itself (the Runtime API's address is connected to), with a stream to it
// ready at descriptor 3 (--connected), and, beside that, before its function is known (--ahead): it
// then says so at descriptor 5 and waits for its environment at descriptor 4.  Files in this folder need Node.js 18 or later
// and nothing else.

'use strict';

const fs = require('node:fs');
const { RuntimeApi } = require('./api.cjs');
const { Context } = require('./context.cjs');
const { describe, payload, reportable } = require('./errors.cjs');
const { load, isStreaming } = require('./handler.cjs');
const { Log } = require('./log.cjs');
const { HIGH_WATER_MARK, ResponseStream, install } = require('./streaming.cjs');

const MAJOR = Number(process.versions.node.split('.')[0]);
const EXIT_UNCAUGHT = 129;
const EXIT_UNHANDLED = 128;

function options() {
  const found = { connected: process.argv.includes('--connected'), ahead: process.argv.includes('--ahead') };
  process.argv = process.argv.slice(0, 2);
  return found;
}

/** Become the function's: its environment.  The working directory is changed from outside. */
async function specialise() {
  await import('node:path'); // what ES modules need is loaded while there is time
  fs.writeSync(5, 'w');
  fs.closeSync(5);
  const environment = JSON.parse(fs.readFileSync(4, 'utf8'));
  fs.closeSync(4);
  for (const name of Object.keys(process.env)) {
    if (!(name in environment)) delete process.env[name];
  }
  Object.assign(process.env, environment);
}

class Runtime {
  constructor(api, log) {
    this.api = api;
    this.log = log;
    this.handler = null;
    // What ends the invocation at hand: (send) => void, where send starts the next exchange.
    this.finish = null;
    // What is done when the event loop is empty before it has ended.
    this.empty = () => {};
  }

  async run() {
    install();
    this.watch();
    try {
      this.handler = await load(process.env._HANDLER, process.env.LAMBDA_TASK_ROOT);
      if (!isStreaming(this.handler) && MAJOR >= 24 && this.handler.length > 2) {
        throw reportable('Runtime.CallbackHandlerDeprecated',
          'AWS Lambda has removed support for callback-based function handlers starting with Node.js 24. ' +
          'You need to modify this function to use a supported handler signature to use Node.js 24 or later.');
      }
    } catch (error) {
      this.log.error('Uncaught Exception', describe(error));
      await this.api.failInitialisation(payload(error));
      process.exit(1);
    }
    let invocation = await this.api.next();
    for (;;) {
      invocation = await this.invoke(invocation);
    }
  }

  /** Run one event; resolves to the next. */
  invoke({ headers, body }) {
    this.log.requestId = headers['lambda-runtime-aws-request-id'];
    process.env._X_AMZN_TRACE_ID = headers['lambda-runtime-trace-id'];
    const context = new Context(headers, MAJOR);
    return new Promise((resolve, reject) => {
      let ended = false;
      this.finish = (send) => {
        if (ended) return;
        ended = true;
        this.finish = null;
        this.api.hold(true);
        send().then(resolve, reject);
      };
      // From here on the connection keeps nothing alive: an empty event loop is the function's own.
      this.api.hold(false);
      if (isStreaming(this.handler)) this.stream(body, context);
      else this.call(body, context);
    });
  }

  respond(id, value) {
    let body;
    try {
      body = JSON.stringify(value === undefined ? null : value);
      if (body === undefined) body = 'null';
    } catch {
      this.fail(id, reportable('Runtime.MarshalError', 'Unable to stringify response body'));
      return;
    }
    this.finish?.(() => this.api.respond(id, body));
  }

  fail(id, error) {
    this.finish?.(() => {
      this.log.error('Invoke Error', describe(error));
      return this.api.fail(id, payload(error));
    });
  }

  call(body, context) {
    const id = context.awsRequestId;
    // What is answered once the event loop is empty; null where the handler never answers.
    let late = () => this.respond(id, null);
    this.empty = () => late();
    const callback = (error, value) => {
      const answer = () => (error === undefined || error === null ? this.respond(id, value) : this.fail(id, error));
      if (context.callbackWaitsForEmptyEventLoop) late = answer;
      else answer();
    };
    if (MAJOR < 24) context.attach(callback, (error, value) => {
      context.callbackWaitsForEmptyEventLoop = false;
      callback(error, value);
    });
    let result;
    try {
      result = this.handler(JSON.parse(body.toString('utf8')), context, MAJOR < 24 ? callback : undefined);
    } catch (error) {
      this.fail(id, error);
      return;
    }
    if (result && typeof result.then === 'function') {
      result.then((value) => this.respond(id, value), (error) => this.fail(id, error));
    } else if (MAJOR >= 24) {
      this.respond(id, result);
    }
  }

  stream(body, context) {
    const id = context.awsRequestId;
    const response = new ResponseStream(this.api, id, this.handler[HIGH_WATER_MARK]);
    const fail = (error) => {
      if (response.begun) {
        this.finish?.(() => {
          this.log.error('Invoke Error', describe(error));
          return response.abort(payload(error));
        });
      } else {
        this.fail(id, error);
      }
    };
    this.empty = () => response.end();
    response.once('error', fail);
    response.once('finish', () => this.finish?.(() => response.answer()));
    try {
      Promise.resolve(this.handler(JSON.parse(body.toString('utf8')), response, context)).catch(fail);
    } catch (error) {
      fail(error);
    }
  }

  /** What no handler catches. */
  watch() {
    process.on('beforeExit', () => {
      if (this.finish !== null) this.empty();
    });
    const end = async (label, error, code) => {
      try {
        this.log.error(label, describe(error));
        if (this.finish !== null) {
          this.finish = null;
          await this.api.report(this.log.requestId, payload(error));
        } else if (this.handler === null) {
          await this.api.failInitialisation(payload(error));
        }
      } finally {
        process.exit(code);
      }
    };
    process.on('uncaughtException', (error) => end('Uncaught Exception', error, EXIT_UNCAUGHT));
    process.on('unhandledRejection', (reason, promise) => {
      const error = reportable('Runtime.UnhandledPromiseRejection', String(reason));
      error.reason = reason;
      error.promise = promise;
      if (reason instanceof Error) error.stack = reason.stack.replace(/^/, `${error.name}: `);
      end('Unhandled Promise Rejection', error, EXIT_UNHANDLED);
    });
  }
}

async function main() {
  const { connected, ahead } = options();
  if (ahead) await specialise();
  const log = new Log();
  log.patch(console);
  await new Runtime(new RuntimeApi(process.env.AWS_LAMBDA_RUNTIME_API, connected ? 3 : -1), log).run();
}

main();
