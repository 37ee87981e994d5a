// What console writes: a line with time, request id and level, or a JSON object.

'use strict';

const fs = require('node:fs');
const util = require('node:util');

const LEVELS = ['TRACE', 'DEBUG', 'INFO', 'WARN', 'ERROR', 'FATAL'];
const METHODS = { trace: 'TRACE', debug: 'DEBUG', info: 'INFO', log: 'INFO', warn: 'WARN', error: 'ERROR' };

function replacer(key, value) {
  if (!(value instanceof Error)) return value;
  return {
    errorType: value?.constructor?.name ?? 'UnknownError',
    errorMessage: value.message,
    stackTrace: typeof value.stack === 'string' ? value.stack.split('\n') : [],
  };
}

function write(line) {
  const data = Buffer.from(`${line}\n`);
  let sent = 0;
  while (sent < data.length) {
    try {
      sent += fs.writeSync(1, data, sent);
    } catch (error) {
      if (error.code !== 'EAGAIN') return;
    }
  }
}

class Log {
  constructor() {
    this.requestId = undefined;
    this.json = process.env.AWS_LAMBDA_LOG_FORMAT === 'JSON';
    const level = (process.env.AWS_LAMBDA_LOG_LEVEL ?? '').toUpperCase();
    this.least = this.json ? Math.max(0, LEVELS.indexOf(level)) : 0;
  }

  patch(target) {
    for (const [method, level] of Object.entries(METHODS)) {
      if (LEVELS.indexOf(level) < this.least) target[method] = () => {};
      else target[method] = (...words) => write(this.line(level, words));
    }
  }

  line(level, words) {
    const now = new Date().toISOString();
    if (!this.json) {
      return `${now}\t${this.requestId}\t${level}\t${util.format(...words)}`.replace(/\n/g, '\r');
    }
    const record = { timestamp: now, level, requestId: this.requestId };
    if (words.length === 1) {
      record.message = words[0];
      try {
        return JSON.stringify(record, replacer);
      } catch {
        record.message = util.format(words[0]);
        return JSON.stringify(record);
      }
    }
    record.message = util.format(...words);
    const error = words.find((word) => word instanceof Error);
    if (error) Object.assign(record, replacer('', error));
    return JSON.stringify(record);
  }

  /** An error this runtime tells, whatever the user has made of console. */
  error(label, told) {
    if (this.json) {
      const { stack, ...rest } = told;
      const record = { timestamp: new Date().toISOString(), level: 'ERROR', requestId: this.requestId };
      write(JSON.stringify({ ...record, message: { ...rest, stackTrace: stack } }));
      return;
    }
    let text;
    try {
      text = JSON.stringify(told);
    } catch {
      text = util.format(told);
    }
    write(`${new Date().toISOString()}\t${this.requestId}\tERROR\t${label} \t${text}`);
  }
}

module.exports = { Log };
