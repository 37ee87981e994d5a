// Finding the user's handler: _HANDLER is PATH/FILE.EXPORT[.PROPERTY...].

'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { pathToFileURL } = require('node:url');
const { reportable } = require('./errors.cjs');

const STREAMING = Symbol.for('aws.lambda.runtime.handler.streaming');
const importModule = (name) => import(name);

/** Whether the package a .js file belongs to holds ES modules. */
function isModule(file) {
  for (let folder = path.dirname(file); ; folder = path.dirname(folder)) {
    try {
      return JSON.parse(fs.readFileSync(path.join(folder, 'package.json'), 'utf8')).type === 'module';
    } catch (error) {
      if (error.code !== 'ENOENT' && error.code !== 'ENOTDIR') return false;
    }
    if (folder === path.dirname(folder)) return false;
  }
}

async function read(base) {
  if (fs.existsSync(base) && fs.statSync(base).isFile()) return require(base);
  for (const [extension, open] of [
    ['.js', (file) => (isModule(file) ? importModule(pathToFileURL(file).href) : require(file))],
    ['.mjs', (file) => importModule(pathToFileURL(file).href)],
    ['.cjs', (file) => require(file)],
  ]) {
    if (fs.existsSync(base + extension)) return open(base + extension);
  }
  return require(base); // NODE_PATH, folders; otherwise Node's own words
}

async function load(name, root) {
  if (!name || name.includes('..')) {
    throw reportable('Runtime.MalformedHandlerName', `'${name}' is not a valid handler name. Use absolute paths when specifying root directories in handler names.`);
  }
  const slash = name.lastIndexOf('/');
  const found = /^([^.]*)\.(.*)$/.exec(name.slice(slash + 1));
  if (found === null) throw reportable('Runtime.MalformedHandlerName', 'Bad handler');
  let value;
  try {
    value = await read(path.resolve(root, name.slice(0, slash + 1), found[1]));
  } catch (error) {
    throw told(error);
  }
  const chosen = found[2].split('.').reduce((from, key) => from?.[key], value) ??
    found[2].split('.').reduce((from, key) => from?.[key], value?.default);
  if (chosen === undefined || chosen === null) {
    throw reportable('Runtime.HandlerNotFound', `${name} is undefined or not exported`);
  }
  if (typeof chosen !== 'function') {
    throw reportable('Runtime.HandlerNotFound', `${name} is not a function`);
  }
  return chosen;
}

function told(error) {
  if (error instanceof SyntaxError) {
    const named = reportable('Runtime.UserCodeSyntaxError', String(error));
    named.stack = `${named.name}: ${error.stack}`;
    return named;
  }
  if (error?.code === 'MODULE_NOT_FOUND' || error?.code === 'ERR_MODULE_NOT_FOUND') {
    const named = reportable('Runtime.ImportModuleError', String(error));
    named.stack = `${named.name}: ${error.stack}`;
    return named;
  }
  return error;
}

module.exports = { load, isStreaming: (handler) => handler[STREAMING] === 'response', STREAMING };
