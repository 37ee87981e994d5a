package lambent.runtime;

import com.amazonaws.services.lambda.runtime.Context;
import java.io.ByteArrayOutputStream;

/** A user's handler, whatever its shape. */
interface Handler {
    void handle(byte[] event, ByteArrayOutputStream output, Context context) throws Throwable;
}
