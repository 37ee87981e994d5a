package lambent.runtime;

import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.RequestHandler;
import java.io.ByteArrayOutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.Map;

/** Loads, ahead of time, what the first invocation of any function will need. */
final class Warmup {
    private Warmup() {}

    /** A handler like any other. */
    public static final class Sample implements RequestHandler<Map<String, Object>, Object> {
        @Override
        public Object handleRequest(Map<String, Object> input, Context context) {
            return input;
        }
    }

    static void run() {
        try {
            Handler handler = Handlers.load(Sample.class.getName(), "/var/task");
            ByteArrayOutputStream output = new ByteArrayOutputStream();
            handler.handle(Bootstrap.utf8("{\"a\":[1,2.5,\"x\\n\",true,null]}"), output, null);
            Json.write(Errors.payload(new Fault("", "")));
            // The classes of sockets, without the Runtime API hearing of it.
            ServerSocket server = new ServerSocket(0, 1, InetAddress.getByAddress(new byte[] {127, 0, 0, 1}));
            Socket socket = new Socket(server.getInetAddress(), server.getLocalPort());
            socket.setTcpNoDelay(true);
            socket.getOutputStream();
            socket.getInputStream();
            socket.close();
            server.close();
            new java.util.jar.JarFile("/var/runtime/lambent-runtime.jar").close();
        } catch (Throwable error) {
            System.err.println("warm-up: " + error);
        }
    }
}
