package lambent.runtime;

import java.io.ByteArrayOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;

/**
 * One keep-alive connection to the Runtime API.
 *
 * <p>It reads what Lambent's own server writes, and asks for the next event with the response to
 * the last ({@code ?next}, which the official API does not know).
 */
final class RuntimeApi {
    private static final String API = "/2018-06-01/runtime/";
    private final String host;
    private final InputStream input;
    private final OutputStream output;
    private final byte[] buffer = new byte[16384];
    private int position;
    private int limit;

    RuntimeApi(String address) throws IOException {
        int colon = address.indexOf(':');
        String[] parts = address.substring(0, colon).split("\\.");
        byte[] ip = new byte[4];
        for (int at = 0; at < 4; at++) {
            ip[at] = (byte) Integer.parseInt(parts[at]);
        }
        Socket socket = new Socket(InetAddress.getByAddress(ip), Integer.parseInt(address.substring(colon + 1)));
        socket.setTcpNoDelay(true);
        input = socket.getInputStream();
        output = socket.getOutputStream();
        host = "Host: " + address + "\r\n";
    }

    /** An invocation: its headers and its event. */
    static final class Event {
        final String requestId;
        final byte[] body;
        private final Map<String, String> headers;

        Event(Map<String, String> headers, byte[] body) {
            this.headers = headers;
            this.body = body;
            this.requestId = headers.get("lambda-runtime-aws-request-id");
        }

        String header(String name) {
            return headers.get(name);
        }
    }

    private static final class Answer {
        int status;
        final Map<String, String> headers = new HashMap<String, String>();
        byte[] body;
    }

    Event next() throws IOException {
        send("GET " + API + "invocation/next HTTP/1.1\r\n" + host + "\r\n", null, 0);
        Answer answer = read();
        return new Event(answer.headers, answer.body);
    }

    /** Post a response and wait for the next invocation, in one round trip. */
    Event respond(String requestId, ByteArrayOutputStream body) throws IOException {
        byte[] data = body.toByteArray();
        post("invocation/" + requestId + "/response?next", "", data);
        return answerOrNext();
    }

    /** Post an error and wait for the next invocation, in one round trip. */
    Event fail(String requestId, Throwable error) throws IOException {
        post("invocation/" + requestId + "/error?next", type(error), payload(error));
        return answerOrNext();
    }

    /** Post an error and ask for nothing more. */
    void report(String requestId, Throwable error) throws IOException {
        post("invocation/" + requestId + "/error", type(error), payload(error));
        read();
    }

    void failInitialisation(Throwable error) throws IOException {
        post("init/error", type(error), payload(error));
        read();
    }

    private static byte[] payload(Throwable error) {
        return Bootstrap.utf8(Json.write(Errors.payload(error)));
    }

    private static String type(Throwable error) {
        return "Lambda-Runtime-Function-Error-Type: " + Errors.type(error) + "\r\n";
    }

    private Event answerOrNext() throws IOException {
        Answer answer = read();
        if (answer.status == 200) {
            return new Event(answer.headers, answer.body);
        }
        if (answer.status == 413) {
            System.err.println(new String(answer.body, StandardCharsets.UTF_8));
        } else if (answer.status >= 500) {
            System.exit(1);
        }
        return next();
    }

    private void post(String path, String extra, byte[] body) throws IOException {
        send("POST " + API + path + " HTTP/1.1\r\n" + host + extra + "Content-Length: " + body.length + "\r\n\r\n",
                body, body.length);
    }

    private void send(String head, byte[] body, int length) throws IOException {
        byte[] start = head.getBytes(StandardCharsets.ISO_8859_1);
        if (length == 0) {
            output.write(start);
            return;
        }
        byte[] whole = new byte[start.length + length];
        System.arraycopy(start, 0, whole, 0, start.length);
        System.arraycopy(body, 0, whole, start.length, length);
        output.write(whole);
    }

    private Answer read() throws IOException {
        try {
            Answer answer = new Answer();
            String line = line();
            answer.status = Integer.parseInt(line.substring(9, 12));
            while (!(line = line()).isEmpty()) {
                int colon = line.indexOf(": ");
                answer.headers.put(line.substring(0, colon).toLowerCase(), line.substring(colon + 2));
            }
            answer.body = new byte[Integer.parseInt(answer.headers.get("content-length"))];
            for (int at = 0; at < answer.body.length; ) {
                if (position == limit) {
                    fill();
                }
                int count = Math.min(limit - position, answer.body.length - at);
                System.arraycopy(buffer, position, answer.body, at, count);
                position += count;
                at += count;
            }
            return answer;
        } catch (EOFException gone) {
            Runtime.getRuntime().halt(0); // the environment is being taken down
            throw gone;
        }
    }

    private String line() throws IOException {
        StringBuilder text = new StringBuilder(80);
        while (true) {
            if (position == limit) {
                fill();
            }
            char next = (char) (buffer[position++] & 0xFF);
            if (next == '\n') {
                text.setLength(text.length() - 1);
                return text.toString();
            }
            text.append(next);
        }
    }

    private void fill() throws IOException {
        limit = input.read(buffer, 0, buffer.length);
        position = 0;
        if (limit < 0) {
            limit = 0;
            throw new EOFException();
        }
    }
}
