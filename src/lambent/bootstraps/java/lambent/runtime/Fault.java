package lambent.runtime;

/** An error of the runtime's own: what is told as the error's type, and the message. */
final class Fault extends RuntimeException {
    private static final long serialVersionUID = 1L;
    final String type;

    Fault(String message, String type) {
        super(message);
        this.type = type;
        setStackTrace(new StackTraceElement[0]);
    }

    Fault(String message, String type, Throwable cause) {
        super(message, cause);
        this.type = type;
        setStackTrace(new StackTraceElement[0]);
    }
}
