// How an error is told: to the caller (payload) and to the log (describe).

'use strict';

const OURS = /\((?:file:\/\/)?\/var\/runtime\/|at (?:async )?(?:file:\/\/)?\/var\/runtime\/|node:internal\//;
const here = __dirname;

function isError(value) {
  return value instanceof Error ||
    (value !== null && typeof value === 'object' && typeof value.message === 'string' && typeof value.stack === 'string');
}

/** The stack below this runtime. */
function trace(error) {
  return String(error.stack ?? '').split('\n')
    .filter((line) => !/^\s+at /.test(line) || !(OURS.test(line) || line.includes(here)));
}

function payload(error) {
  if (isError(error)) {
    return { errorType: String(error.name), errorMessage: String(error.message), trace: trace(error) };
  }
  return { errorType: typeof error, errorMessage: String(error), trace: [] };
}

function describe(error) {
  if (!isError(error)) return { errorType: typeof error, errorMessage: String(error), stack: [] };
  const told = { errorType: String(error.name), errorMessage: String(error.message) };
  for (const name of Object.keys(error)) {
    if (!['name', 'message', 'stack'].includes(name)) told[name] = error[name];
  }
  told.stack = trace(error);
  return told;
}

/** An error of the platform's own kinds. */
function reportable(name, message) {
  const error = new Error(message);
  Object.defineProperty(error, 'name', { value: name, enumerable: false });
  error.stack = `${name}: ${message}`;
  return error;
}

module.exports = { describe, payload, reportable };
