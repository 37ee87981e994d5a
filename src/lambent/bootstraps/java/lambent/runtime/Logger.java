package lambent.runtime;

import com.amazonaws.services.lambda.runtime.LambdaLogger;
import com.amazonaws.services.lambda.runtime.logging.LogLevel;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.util.LinkedHashMap;
import java.util.Map;

/** The function's log: one event a message, as text or as a JSON object. */
public final class Logger implements LambdaLogger {
    private final String requestId;

    public Logger() {
        this(null);
    }

    Logger(String requestId) {
        this.requestId = requestId;
    }

    @Override
    public void log(String message) {
        log(message, LogLevel.UNDEFINED);
    }

    @Override
    public void log(byte[] message) {
        log(new String(message, StandardCharsets.UTF_8));
    }

    @Override
    public void log(byte[] message, LogLevel level) {
        log(new String(message, StandardCharsets.UTF_8), level);
    }

    @Override
    public void log(String message, LogLevel level) {
        if ("JSON".equals(System.getenv("AWS_LAMBDA_LOG_FORMAT"))) {
            String least = System.getenv("AWS_LAMBDA_LOG_LEVEL");
            if (level != LogLevel.UNDEFINED && least != null && level.compareTo(LogLevel.fromString(least)) < 0) {
                return;
            }
            Map<String, Object> record = new LinkedHashMap<String, Object>();
            record.put("timestamp", Instant.now().toString());
            if (level != LogLevel.UNDEFINED) {
                record.put("level", level.name());
            }
            record.put("message", message);
            record.put("AWSRequestId", requestId);
            System.out.println(Json.write(record));
            return;
        }
        String text = message == null ? "null" : message;
        if (text.endsWith("\n")) {
            text = text.substring(0, text.length() - 1);
        }
        System.out.println(text.replace('\n', '\r'));
    }
}
