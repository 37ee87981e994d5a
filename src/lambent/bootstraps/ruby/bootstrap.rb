# frozen_string_literal: true

# Lambent's Ruby runtime: fetches events from the Runtime API and hands them to a handler.
#
# A handler is "file.method" or "file.Module::Class.method", called with event: and context:.  It
# works like AWS's managed Ruby: an answer is JSON unless it is a StringIO, errors are called
# Function<Class>, and a stack trace shows the user's frames alone.

require 'json'
require 'socket'
require 'stringio'

$stdout.sync = $stderr.sync = true

module LambentRuntime
  API = '/2018-06-01/runtime/'
  FRAMES_OF_OURS = /\A(#{Regexp.escape(__FILE__)}|<internal):/

  # One keep-alive connection; each answer to an event asks for the next with "?next".
  class RuntimeApi
    def initialize(address, connected)
      @host = "Host: #{address}\r\n"
      host, port = address.split(':')
      @socket = connected ? UNIXSocket.for_fd(3) : TCPSocket.new(host, Integer(port))
      @socket.sync = true
      @socket.close_on_exec = true
    end

    def next
      @socket.write("GET #{API}invocation/next HTTP/1.1\r\n#{@host}\r\n")
      answer
    end

    # Both return the next event.
    def respond(id, body, type)
      post("invocation/#{id}/response?next", body, "Content-Type: #{type}\r\n")
      answer_or_next
    end

    def fail(id, error)
      post("invocation/#{id}/error?next", JSON.generate(error), error_type(error))
      answer_or_next
    end

    def fail_initialisation(error)
      post('init/error', JSON.generate(error), error_type(error))
      answer
    end

    private

    def error_type(error)
      "Lambda-Runtime-Function-Error-Type: #{error[:errorType].gsub(/[^\x21-\x7e]/, '')}\r\n"
    end

    def post(path, body, headers)
      size = "Content-Length: #{body.bytesize}\r\n"
      head = "POST #{API}#{path} HTTP/1.1\r\n#{@host}#{headers}#{size}\r\n"
      @socket.write(head.b + body.b)
    end

    # A response that was refused (too large) brings no event.
    def answer_or_next
      headers, body = answer
      headers.key?('lambda-runtime-aws-request-id') ? [headers, body] : self.next
    end

    def answer
      status = @socket.gets("\r\n")
      exit!(0) if status.nil? # the environment is being taken down
      headers = {}
      while (line = @socket.gets("\r\n")) && line != "\r\n"
        name, value = line.chomp.split(':', 2)
        headers[name.downcase] = value.strip
      end
      [headers, @socket.read(Integer(headers.fetch('content-length', '0')))]
    rescue SystemCallError
      exit!(0)
    end
  end

  # What a handler is told about its invocation.
  class Context
    attr_reader :aws_request_id, :invoked_function_arn, :deadline_ms, :identity, :client_context,
                :function_name, :function_version, :memory_limit_in_mb, :log_group_name,
                :log_stream_name

    def initialize(headers)
      @aws_request_id = headers['lambda-runtime-aws-request-id']
      @invoked_function_arn = headers['lambda-runtime-invoked-function-arn']
      @deadline_ms = Integer(headers['lambda-runtime-deadline-ms'])
      @identity = parse(headers['lambda-runtime-cognito-identity'])
      @client_context = parse(headers['lambda-runtime-client-context'])
      @function_name = ENV['AWS_LAMBDA_FUNCTION_NAME']
      @function_version = ENV['AWS_LAMBDA_FUNCTION_VERSION']
      @memory_limit_in_mb = ENV['AWS_LAMBDA_FUNCTION_MEMORY_SIZE']
      @log_group_name = ENV['AWS_LAMBDA_LOG_GROUP_NAME']
      @log_stream_name = ENV['AWS_LAMBDA_LOG_STREAM_NAME']
    end

    def get_remaining_time_in_millis
      [@deadline_ms - Process.clock_gettime(Process::CLOCK_REALTIME, :millisecond), 0].max
    end

    private

    def parse(text)
      text && JSON.parse(text)
    end
  end

  module_function

  def describe(kind, error)
    frames = (error.backtrace || []).reject { |frame| FRAMES_OF_OURS.match?(frame) }
    kind = "#{kind}<#{error.class.name}>"
    { errorMessage: error.message.to_s.scrub, errorType: kind, stackTrace: frames }
  end

  def log_error(error)
    warn("#{error[:errorType]}: #{error[:errorMessage]}\n  #{error[:stackTrace].join("\n  ")}")
  end

  # The handler as something to call.
  def find(text)
    file, *scope, name = text.split('.')
    if name.nil? || scope.length > 1
      raise ArgumentError, "Invalid handler #{text}, must be of form FILENAME.METHOD or " \
                           'FILENAME.CLASS.METHOD'
    end

    require file
    return Object.new.method(name) if scope.empty?

    Object.const_get(scope.first).method(name)
  end

  def main(connected)
    api = RuntimeApi.new(ENV.fetch('AWS_LAMBDA_RUNTIME_API'), connected)
    $LOAD_PATH.unshift(ENV.fetch('LAMBDA_TASK_ROOT'))
    begin
      handler = find(ENV.fetch('_HANDLER'))
    rescue ScriptError, StandardError => e
      error = describe('Init', e)
      log_error(error)
      api.fail_initialisation(error)
      exit!(1)
    end
    headers, event = api.next
    loop { headers, event = serve(api, handler, headers, event) }
  end

  def serve(api, handler, headers, event)
    ENV['_X_AMZN_TRACE_ID'] = headers['lambda-runtime-trace-id']
    context = Context.new(headers)
    begin
      result = handler.call(event: JSON.parse(event), context: context)
      body, type =
        if result.is_a?(StringIO)
          [result.read, 'application/unknown']
        else
          [JSON.generate(result), 'application/json']
        end
    rescue ScriptError, StandardError, SystemStackError => e
      error = describe('Function', e)
      log_error(error)
      return api.fail(context.aws_request_id, error)
    end
    api.respond(context.aws_request_id, body, type)
  end
end

LambentRuntime.main(ARGV.include?('--connected'))
