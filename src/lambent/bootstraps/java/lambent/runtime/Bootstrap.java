package lambent.runtime;

import java.io.ByteArrayOutputStream;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;

/**
 * The Java runtime: fetches events from the Runtime API and calls the user's handler.
 *
 * <p>With {@code --ahead} it is booted before its function is known: it says so on descriptor 5,
 * waits on descriptor 4, and finds its environment set when that ends. Nothing here may look at the
 * environment before. It runs on Java 8 and later and avoids what is slow to load: lambdas, regular
 * expressions, formats.
 */
public final class Bootstrap {
    private Bootstrap() {}

    public static void main(String[] arguments) throws Exception {
        if (arguments.length > 0 && arguments[arguments.length - 1].equals("--ahead")) {
            Warmup.run();
            await();
        }
        RuntimeApi api = new RuntimeApi(System.getenv("AWS_LAMBDA_RUNTIME_API"));
        Handler handler;
        try {
            handler = Handlers.load(System.getenv("_HANDLER"), System.getenv("LAMBDA_TASK_ROOT"));
        } catch (Throwable error) {
            Throwable told = Errors.unwrap(error);
            System.out.println(Errors.trace(told));
            System.out.flush();
            api.failInitialisation(told);
            System.exit(1);
            return;
        }
        serve(api, handler);
    }

    private static void serve(RuntimeApi api, Handler handler) throws Exception {
        ByteArrayOutputStream output = new ByteArrayOutputStream(4096);
        RuntimeApi.Event event = api.next();
        while (true) {
            InvocationContext context = new InvocationContext(event);
            System.setProperty(
                "com.amazonaws.xray.traceHeader", event.header("lambda-runtime-trace-id"));
            output.reset();
            Throwable failure = null;
            try {
                handler.handle(event.body, output, context);
            } catch (Throwable error) {
                failure = Errors.unwrap(error);
            }
            if (failure != null) {
                System.out.println(Errors.trace(failure));
            }
            System.out.flush();
            System.err.flush();
            if (failure == null) {
                event = api.respond(event.requestId, output);
            } else if (failure instanceof VirtualMachineError) {
                api.report(event.requestId, failure);
                System.exit(1);
            } else {
                event = api.fail(event.requestId, failure);
            }
        }
    }

    /** Wait for the function. */
    private static void await() throws Exception {
        OutputStream waiting = new FileOutputStream("/proc/self/fd/5");
        waiting.write('w');
        waiting.close();
        InputStream pipe = new FileInputStream("/proc/self/fd/4");
        byte[] buffer = new byte[8192];
        while (pipe.read(buffer) >= 0) {
            // What it says is in the environment.
        }
        pipe.close();
    }

    static byte[] utf8(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }
}
