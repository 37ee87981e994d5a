package lambent.runtime;

import java.lang.reflect.InvocationTargetException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** How an error is told: as a payload, and in the log. Only the user's frames are shown. */
final class Errors {
    private static final int DEPTH = 20;

    private Errors() {}

    /** What the user's code threw, without what reflection and class initialisation put around. */
    static Throwable unwrap(Throwable error) {
        while ((error instanceof InvocationTargetException || error instanceof ExceptionInInitializerError)
                && error.getCause() != null) {
            error = error.getCause();
        }
        return error;
    }

    static String type(Throwable error) {
        return error instanceof Fault ? ((Fault) error).type : error.getClass().getName();
    }

    static Map<String, Object> payload(Throwable error) {
        return payload(error, 0);
    }

    private static Map<String, Object> payload(Throwable error, int depth) {
        Map<String, Object> told = new LinkedHashMap<String, Object>();
        told.put("errorMessage", error.getMessage());
        told.put("errorType", type(error));
        List<Object> frames = new ArrayList<Object>();
        for (StackTraceElement frame : frames(error)) {
            frames.add(frame.toString());
        }
        told.put("stackTrace", frames);
        Throwable cause = error.getCause();
        if (cause != null && cause != error && depth < DEPTH) {
            told.put("cause", payload(cause, depth + 1));
        }
        return told;
    }

    /** The frames above the first that is this runtime's or of the reflection it used. */
    private static List<StackTraceElement> frames(Throwable error) {
        StackTraceElement[] all = error.getStackTrace();
        int end = all.length;
        for (int at = 0; at < all.length; at++) {
            if (all[at].getClassName().startsWith("lambent.runtime.")) {
                end = at;
                break;
            }
        }
        while (end > 0 && reflective(all[end - 1].getClassName())) {
            end--;
        }
        List<StackTraceElement> kept = new ArrayList<StackTraceElement>();
        for (int at = 0; at < end; at++) {
            kept.add(all[at]);
        }
        return kept;
    }

    private static boolean reflective(String name) {
        return name.startsWith("java.lang.reflect.") || name.startsWith("jdk.internal.reflect.")
                || name.startsWith("sun.reflect.") || name.startsWith("java.lang.invoke.");
    }

    static String trace(Throwable error) {
        StringBuilder text = new StringBuilder();
        text.append(error.getMessage()).append(": ").append(type(error));
        for (int depth = 0; error != null && depth < DEPTH; depth++, error = error.getCause()) {
            text.append('\r').append(depth == 0 ? "" : "Caused by: ").append(type(error));
            if (error.getMessage() != null) {
                text.append(": ").append(error.getMessage().replace('\n', '\r'));
            }
            for (StackTraceElement frame : frames(error)) {
                text.append("\r\tat ").append(frame);
            }
            if (error.getCause() == error) {
                break;
            }
        }
        return text.toString();
    }
}
