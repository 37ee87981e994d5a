// The second argument of a handler; properties as AWS documents them.

'use strict';

function object(text) {
  try {
    return text ? JSON.parse(text) : undefined;
  } catch {
    return undefined;
  }
}

class Context {
  #deadline;

  constructor(headers, major) {
    if (major < 24) this.callbackWaitsForEmptyEventLoop = true;
    this.functionVersion = process.env.AWS_LAMBDA_FUNCTION_VERSION;
    this.functionName = process.env.AWS_LAMBDA_FUNCTION_NAME;
    this.memoryLimitInMB = process.env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE;
    this.logGroupName = process.env.AWS_LAMBDA_LOG_GROUP_NAME;
    this.logStreamName = process.env.AWS_LAMBDA_LOG_STREAM_NAME;
    this.clientContext = object(headers['lambda-runtime-client-context']);
    this.identity = object(headers['lambda-runtime-cognito-identity']);
    this.invokedFunctionArn = headers['lambda-runtime-invoked-function-arn'];
    this.awsRequestId = headers['lambda-runtime-aws-request-id'];
    this.tenantId = headers['lambda-runtime-aws-tenant-id'];
    this.#deadline = Number(headers['lambda-runtime-deadline-ms']);
    this.getRemainingTimeInMillis = () => Math.max(0, this.#deadline - Date.now());
  }

  /** The ways to answer from before promises; finish does not wait for the event loop. */
  attach(callback, finish) {
    this.succeed = (value) => finish(null, value);
    this.fail = (error) => finish(error ?? 'handled');
    this.done = (error, value) => finish(error, value);
  }
}

module.exports = { Context };
