package com.amazonaws.services.lambda.runtime;

/** Access to the logger outside an invocation. */
public class LambdaRuntime {
    private static volatile LambdaLogger logger = new lambent.runtime.Logger();

    private LambdaRuntime() {}

    public static LambdaLogger getLogger() {
        return logger;
    }
}
