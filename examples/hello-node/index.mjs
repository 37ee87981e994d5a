export const handler = async (event, context) => {
  console.log('called by request', context.awsRequestId);
  return { hello: event.name ?? 'world', node: process.version };
};
