package lambent.runtime;

import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.CustomPojoSerializer;
import com.amazonaws.services.lambda.runtime.RequestHandler;
import com.amazonaws.services.lambda.runtime.RequestStreamHandler;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.InputStream;
import java.io.OutputStream;
import java.lang.reflect.Constructor;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.Type;
import java.lang.reflect.TypeVariable;
import java.net.URL;
import java.net.URLClassLoader;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Iterator;
import java.util.List;
import java.util.ServiceLoader;

/** Finding the user's handler: {@code Class::method} or a class that implements an interface. */
final class Handlers {
    private Handlers() {}

    static Handler load(String name, String root) throws Throwable {
        int colons = name.indexOf("::");
        String className = colons < 0 ? name : name.substring(0, colons);
        String method = colons < 0 ? null : name.substring(colons + 2);
        ClassLoader loader = loader(root);
        Thread.currentThread().setContextClassLoader(loader);
        Class<?> type;
        try {
            type = Class.forName(className, true, loader);
        } catch (ClassNotFoundException missing) {
            throw new Fault("Class not found: " + className, "java.lang.ClassNotFoundException");
        }
        if (method == null || method.equals("handleRequest")) {
            if (RequestStreamHandler.class.isAssignableFrom(type)) {
                return new Streaming((RequestStreamHandler) make(type));
            }
            if (RequestHandler.class.isAssignableFrom(type)) {
                return valued(type, loader);
            }
        }
        if (method == null) {
            throw new Fault("Class " + className + " does not implement an appropriate handler interface",
                    "java.lang.ClassCastException");
        }
        Method found = best(type, method);
        if (found == null) {
            throw new Fault("No public method named " + method
                    + " with appropriate method signature found on class " + className,
                    "java.lang.NoSuchMethodException");
        }
        found.setAccessible(true);
        Object target = Modifier.isStatic(found.getModifiers()) ? null : make(type);
        return new Plain(target, found, serializer(loader));
    }

    /** The task itself, its jars, the layers' jars. */
    private static ClassLoader loader(String root) throws Exception {
        List<URL> places = new ArrayList<URL>();
        places.add(new File(root + "/").toURI().toURL());
        for (String folder : new String[] {root + "/lib", "/opt/java/lib"}) {
            File[] jars = new File(folder).listFiles();
            if (jars == null) {
                continue;
            }
            Arrays.sort(jars);
            for (File jar : jars) {
                if (jar.getName().endsWith(".jar")) {
                    places.add(jar.toURI().toURL());
                }
            }
        }
        return new URLClassLoader(places.toArray(new URL[0]), Handlers.class.getClassLoader());
    }

    private static CustomPojoSerializer serializer(ClassLoader loader) {
        URL found = loader.getResource("META-INF/services/" + CustomPojoSerializer.class.getName());
        if (found == null) {
            return null;
        }
        Iterator<CustomPojoSerializer> all = ServiceLoader.load(CustomPojoSerializer.class, loader).iterator();
        return all.hasNext() ? all.next() : null;
    }

    private static Object make(Class<?> type) throws Throwable {
        Constructor<?> constructor;
        try {
            constructor = type.getDeclaredConstructor();
        } catch (NoSuchMethodException none) {
            throw new Fault("Class " + type.getName() + " has no public zero-argument constructor",
                    "java.lang.NoSuchMethodException");
        }
        constructor.setAccessible(true);
        return constructor.newInstance();
    }

    /** The method that takes the most, a context last. */
    private static Method best(Class<?> type, String name) {
        Method best = null;
        for (Method each : type.getMethods()) {
            if (!each.getName().equals(name) || each.isBridge() || !fits(each.getParameterTypes())) {
                continue;
            }
            if (best == null || each.getParameterTypes().length > best.getParameterTypes().length) {
                best = each;
            }
        }
        return best;
    }

    private static boolean fits(Class<?>[] parameters) {
        if (parameters.length <= 1) {
            return true;
        }
        boolean streams = InputStream.class == parameters[0] && OutputStream.class == parameters[1];
        boolean contextLast = Context.class.isAssignableFrom(parameters[parameters.length - 1]);
        return streams ? parameters.length == 2 || (parameters.length == 3 && contextLast)
                : parameters.length == 2 && contextLast;
    }

    private static Handler valued(Class<?> type, ClassLoader loader) throws Throwable {
        Type input = argument(type);
        return new Valued((RequestHandler<?, ?>) make(type), input, serializer(loader));
    }

    /** What a class puts for I in RequestHandler, followed through its parents. */
    private static Type argument(Class<?> type) {
        for (Method each : type.getMethods()) {
            if (each.getName().equals("handleRequest") && !each.isBridge()
                    && each.getParameterTypes().length == 2
                    && Context.class.isAssignableFrom(each.getParameterTypes()[1])) {
                Type first = each.getGenericParameterTypes()[0];
                if (!(first instanceof TypeVariable)) {
                    return first;
                }
                return bound(type, (TypeVariable<?>) first);
            }
        }
        return Object.class;
    }

    private static Type bound(Class<?> type, TypeVariable<?> variable) {
        for (Type parent = type.getGenericSuperclass(); parent != null; ) {
            if (parent instanceof ParameterizedType) {
                ParameterizedType generic = (ParameterizedType) parent;
                Class<?> raw = (Class<?>) generic.getRawType();
                TypeVariable<?>[] names = raw.getTypeParameters();
                for (int at = 0; at < names.length; at++) {
                    if (names[at].equals(variable)) {
                        return generic.getActualTypeArguments()[at];
                    }
                }
                parent = raw.getGenericSuperclass();
            } else {
                parent = ((Class<?>) parent).getGenericSuperclass();
            }
        }
        return Object.class;
    }

    private static Object read(byte[] event, Type type, CustomPojoSerializer serializer) {
        if (serializer != null && type != InputStream.class) {
            return serializer.fromJson(new ByteArrayInputStream(event), type);
        }
        if (type == InputStream.class) {
            return new ByteArrayInputStream(event);
        }
        try {
            return Beans.read(Json.parse(event), type);
        } catch (RuntimeException error) {
            throw new Fault("An error occurred during JSON parsing", "java.lang.RuntimeException", error);
        }
    }

    private static void write(Object value, ByteArrayOutputStream output, CustomPojoSerializer serializer, Type type) {
        if (serializer != null && value != null) {
            serializer.toJson(value, output, type);
            return;
        }
        byte[] data = Bootstrap.utf8(Json.write(Beans.plain(value, 0)));
        output.write(data, 0, data.length);
    }

    private static final class Streaming implements Handler {
        private final RequestStreamHandler handler;

        Streaming(RequestStreamHandler handler) {
            this.handler = handler;
        }

        @Override
        public void handle(byte[] event, ByteArrayOutputStream output, Context context) throws Throwable {
            handler.handleRequest(new ByteArrayInputStream(event), output, context);
        }
    }

    private static final class Valued implements Handler {
        private final RequestHandler<Object, Object> handler;
        private final Type input;
        private final CustomPojoSerializer serializer;

        @SuppressWarnings("unchecked")
        Valued(RequestHandler<?, ?> handler, Type input, CustomPojoSerializer serializer) {
            this.handler = (RequestHandler<Object, Object>) handler;
            this.input = input;
            this.serializer = serializer;
        }

        @Override
        public void handle(byte[] event, ByteArrayOutputStream output, Context context) throws Throwable {
            Object value = handler.handleRequest(read(event, input, serializer), context);
            write(value, output, serializer, value == null ? Object.class : value.getClass());
        }
    }

    private static final class Plain implements Handler {
        private final Object target;
        private final Method method;
        private final Type[] parameters;
        private final CustomPojoSerializer serializer;

        Plain(Object target, Method method, CustomPojoSerializer serializer) {
            this.target = target;
            this.method = method;
            this.parameters = method.getGenericParameterTypes();
            this.serializer = serializer;
        }

        @Override
        public void handle(byte[] event, ByteArrayOutputStream output, Context context) throws Throwable {
            Object[] arguments = new Object[parameters.length];
            boolean streams = false;
            for (int at = 0; at < arguments.length; at++) {
                Type type = parameters[at];
                if (type instanceof Class && Context.class.isAssignableFrom((Class<?>) type)) {
                    arguments[at] = context;
                } else if (type == OutputStream.class) {
                    arguments[at] = output;
                    streams = true;
                } else {
                    arguments[at] = read(event, type, serializer);
                }
            }
            Object value = method.invoke(target, arguments);
            if (!streams && method.getReturnType() != void.class) {
                write(value, output, serializer, method.getGenericReturnType());
            } else if (!streams) {
                write(null, output, null, Object.class);
            }
        }
    }
}
