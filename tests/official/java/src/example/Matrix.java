package example;

import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.RequestHandler;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** The matrix's function (see tests/official/test_matrix.py), compiled against AWS's interfaces. */
public class Matrix implements RequestHandler<Map<String, Object>, Object> {
    private static final List<byte[]> HELD = new ArrayList<>();

    @Override
    public Object handleRequest(Map<String, Object> wanted, Context context) {
        try {
            return answer(wanted, context);
        } catch (RuntimeException error) {
            throw error;
        } catch (Exception error) {
            throw new RuntimeException(error);
        }
    }

    private static Object answer(Map<String, Object> wanted, Context context) throws Exception {
        switch (String.valueOf(wanted.get("do"))) {
            case "error":
                throw new IllegalStateException("boom");
            case "sleep":
                Thread.sleep(20_000);
                return null;
            case "memory":
                while (true) {
                    HELD.add(new byte[16 << 20]);
                }
            case "exit":
                System.exit(3);
                return null;
            case "large":
                return "x".repeat(7 << 20);
            case "env":
                return System.getenv("COLOUR");
            case "layer":
                return Files.readString(Path.of("/opt/marker.txt"));
            case "tmp":
                Path kept = Path.of("/tmp/kept");
                String before = Files.exists(kept) ? Files.readString(kept) : "";
                Files.writeString(kept, before + "x");
                return before.length();
            case "child":
                Process child = new ProcessBuilder("/bin/sh", "-c", "echo $COLOUR; pwd").start();
                return new String(child.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
            case "context":
                Map<String, Object> told = new LinkedHashMap<>();
                told.put("id", context.getAwsRequestId());
                told.put("arn", context.getInvokedFunctionArn());
                told.put("name", context.getFunctionName());
                told.put("memory", String.valueOf(context.getMemoryLimitInMB()));
                told.put("left", context.getRemainingTimeInMillis() > 0);
                return told;
            default:
                return wanted;
        }
    }

    /** A POJO in and a record out. */
    public static class Order {
        private String name;
        private List<Integer> numbers;

        public String getName() {
            return name;
        }

        public void setName(String name) {
            this.name = name;
        }

        public List<Integer> getNumbers() {
            return numbers;
        }

        public void setNumbers(List<Integer> numbers) {
            this.numbers = numbers;
        }
    }

    /** See Order. */
    public record Receipt(String greeting, int sum) {}

    public Receipt pojo(Order order, Context context) {
        int sum = 0;
        for (int number : order.getNumbers()) {
            sum += number;
        }
        return new Receipt("hello " + order.getName(), sum);
    }
}
