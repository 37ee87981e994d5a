package lambent.runtime;

import com.amazonaws.services.lambda.runtime.Client;
import com.amazonaws.services.lambda.runtime.ClientContext;
import com.amazonaws.services.lambda.runtime.CognitoIdentity;
import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.LambdaLogger;
import java.util.LinkedHashMap;
import java.util.Map;

/** The second argument of a handler. */
final class InvocationContext implements Context {
    private final RuntimeApi.Event event;
    private final LambdaLogger logger;

    InvocationContext(RuntimeApi.Event event) {
        this.event = event;
        this.logger = new Logger(event.requestId);
    }

    @Override
    public String getAwsRequestId() {
        return event.requestId;
    }

    @Override
    public String getLogGroupName() {
        return System.getenv("AWS_LAMBDA_LOG_GROUP_NAME");
    }

    @Override
    public String getLogStreamName() {
        return System.getenv("AWS_LAMBDA_LOG_STREAM_NAME");
    }

    @Override
    public String getFunctionName() {
        return System.getenv("AWS_LAMBDA_FUNCTION_NAME");
    }

    @Override
    public String getFunctionVersion() {
        return System.getenv("AWS_LAMBDA_FUNCTION_VERSION");
    }

    @Override
    public String getInvokedFunctionArn() {
        return event.header("lambda-runtime-invoked-function-arn");
    }

    @Override
    public String getTenantId() {
        return event.header("lambda-runtime-aws-tenant-id");
    }

    @Override
    public String getXrayTraceId() {
        return event.header("lambda-runtime-trace-id");
    }

    @Override
    public CognitoIdentity getIdentity() {
        final Map<?, ?> told = object(event.header("lambda-runtime-cognito-identity"));
        return told == null ? null : new CognitoIdentity() {
            @Override
            public String getIdentityId() {
                return text(told, "cognitoIdentityId");
            }

            @Override
            public String getIdentityPoolId() {
                return text(told, "cognitoIdentityPoolId");
            }
        };
    }

    @Override
    public ClientContext getClientContext() {
        final Map<?, ?> told = object(event.header("lambda-runtime-client-context"));
        return told == null ? null : new ClientContext() {
            @Override
            public Client getClient() {
                Object client = told.get("client");
                return client instanceof Map ? new ToldClient((Map<?, ?>) client) : null;
            }

            @Override
            public Map<String, String> getCustom() {
                return texts(told.get("custom"));
            }

            @Override
            public Map<String, String> getEnvironment() {
                return texts(told.get("env"));
            }
        };
    }

    @Override
    public int getRemainingTimeInMillis() {
        String deadline = event.header("lambda-runtime-deadline-ms");
        return (int) Math.max(0, Long.parseLong(deadline) - System.currentTimeMillis());
    }

    @Override
    public int getMemoryLimitInMB() {
        return Integer.parseInt(System.getenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE"));
    }

    @Override
    public LambdaLogger getLogger() {
        return logger;
    }

    private static Map<?, ?> object(String header) {
        if (header == null) {
            return null;
        }
        try {
            Object value = Json.parse(Bootstrap.utf8(header));
            return value instanceof Map ? (Map<?, ?>) value : null;
        } catch (RuntimeException notJson) {
            return null;
        }
    }

    private static String text(Map<?, ?> from, String name) {
        Object value = from.get(name);
        return value == null ? null : value.toString();
    }

    private static Map<String, String> texts(Object value) {
        Map<String, String> texts = new LinkedHashMap<String, String>();
        if (value instanceof Map) {
            for (Map.Entry<?, ?> each : ((Map<?, ?>) value).entrySet()) {
                texts.put(String.valueOf(each.getKey()), each.getValue() == null ? null : each.getValue().toString());
            }
        }
        return texts;
    }

    private static final class ToldClient implements Client {
        private final Map<?, ?> told;

        ToldClient(Map<?, ?> told) {
            this.told = told;
        }

        @Override
        public String getInstallationId() {
            return text(told, "installation_id");
        }

        @Override
        public String getAppTitle() {
            return text(told, "app_title");
        }

        @Override
        public String getAppVersionName() {
            return text(told, "app_version_name");
        }

        @Override
        public String getAppVersionCode() {
            return text(told, "app_version_code");
        }

        @Override
        public String getAppPackageName() {
            return text(told, "app_package_name");
        }
    }
}
