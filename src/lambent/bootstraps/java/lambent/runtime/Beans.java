package lambent.runtime;

import java.lang.reflect.Array;
import java.lang.reflect.Constructor;
import java.lang.reflect.Field;
import java.lang.reflect.GenericArrayType;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.Type;
import java.lang.reflect.WildcardType;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Collection;
import java.util.Date;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;

/**
 * Between plain JSON values and a function's own classes: beans with setters or public fields,
 * records, enums, collections. Names match without regard to case, so that the published event
 * classes ("Records" → setRecords) are filled as AWS fills them; unknown names are passed over.
 */
final class Beans {
    private static final int DEPTH = 200;

    private Beans() {}

    static Object read(Object value, Type type) {
        if (type instanceof Class) {
            return convert(value, (Class<?>) type, new Type[0]);
        }
        if (type instanceof ParameterizedType) {
            ParameterizedType generic = (ParameterizedType) type;
            return convert(value, (Class<?>) generic.getRawType(), generic.getActualTypeArguments());
        }
        if (type instanceof GenericArrayType) {
            Type element = ((GenericArrayType) type).getGenericComponentType();
            Class<?> raw = element instanceof ParameterizedType
                    ? (Class<?>) ((ParameterizedType) element).getRawType() : Object.class;
            return array(value, raw, element);
        }
        if (type instanceof WildcardType) {
            return read(value, ((WildcardType) type).getUpperBounds()[0]);
        }
        return value;
    }

    private static Object convert(Object value, Class<?> type, Type[] arguments) {
        if (type == Object.class) {
            return value;
        }
        if (value == null) {
            return type.isPrimitive() ? Array.get(Array.newInstance(type, 1), 0) : null;
        }
        if (type == String.class || type == CharSequence.class) {
            if (value instanceof Map || value instanceof List) {
                throw new IllegalArgumentException("cannot read a String from " + kind(value));
            }
            return value.toString();
        }
        if (type.isPrimitive() || Number.class.isAssignableFrom(type) || type == Boolean.class || type == Character.class) {
            return scalar(value, type);
        }
        if (Map.class.isAssignableFrom(type)) {
            return map(value, type, arguments);
        }
        if (Collection.class.isAssignableFrom(type) || type == Iterable.class) {
            return collection(value, type, arguments);
        }
        if (type == byte[].class) {
            return Base64.getDecoder().decode(value.toString());
        }
        if (type == ByteBuffer.class) {
            return ByteBuffer.wrap(Base64.getDecoder().decode(value.toString()));
        }
        if (type.isArray()) {
            return array(value, type.getComponentType(), type.getComponentType());
        }
        if (type.isEnum()) {
            return constant(value.toString(), type);
        }
        if (type == Date.class) {
            return value instanceof Number ? new Date(milliseconds((Number) value)) : Date.from(Instant.parse(value.toString()));
        }
        if (type == Instant.class) {
            return value instanceof Number ? Instant.ofEpochMilli(milliseconds((Number) value)) : Instant.parse(value.toString());
        }
        if (value instanceof Map) {
            return bean((Map<?, ?>) value, type);
        }
        return parsed(value, type);
    }

    private static long milliseconds(Number value) {
        // DynamoDB and Kinesis give seconds with a fraction, everything else milliseconds.
        double number = value.doubleValue();
        return (long) (number < 1e11 ? number * 1000 : number);
    }

    private static String kind(Object value) {
        return value instanceof Map ? "an object" : value instanceof List ? "an array" : value.getClass().getSimpleName();
    }

    private static Object scalar(Object value, Class<?> type) {
        if (type == boolean.class || type == Boolean.class) {
            return value instanceof Boolean ? value : Boolean.valueOf(value.toString());
        }
        if (type == char.class || type == Character.class) {
            return value.toString().charAt(0);
        }
        BigDecimal number;
        try {
            number = new BigDecimal(value.toString().trim());
        } catch (NumberFormatException error) {
            throw new IllegalArgumentException("cannot read " + type.getSimpleName() + " from \"" + value + "\"");
        }
        if (type == int.class || type == Integer.class) {
            return number.intValue();
        }
        if (type == long.class || type == Long.class) {
            return number.longValue();
        }
        if (type == double.class || type == Double.class) {
            return number.doubleValue();
        }
        if (type == float.class || type == Float.class) {
            return number.floatValue();
        }
        if (type == short.class || type == Short.class) {
            return number.shortValue();
        }
        if (type == byte.class || type == Byte.class) {
            return number.byteValue();
        }
        if (type == BigInteger.class) {
            return number.toBigInteger();
        }
        return type == BigDecimal.class ? number : value;
    }

    @SuppressWarnings("unchecked")
    private static Object map(Object value, Class<?> type, Type[] arguments) {
        if (!(value instanceof Map)) {
            throw new IllegalArgumentException("cannot read a Map from " + kind(value));
        }
        Type element = arguments.length == 2 ? arguments[1] : Object.class;
        Type key = arguments.length == 2 ? arguments[0] : String.class;
        Map<Object, Object> found = type.isInterface() || Modifier.isAbstract(type.getModifiers())
                ? (type.isAssignableFrom(LinkedHashMap.class) ? new LinkedHashMap<Object, Object>() : (Map<Object, Object>) (Map<?, ?>) new TreeMap<Object, Object>())
                : (Map<Object, Object>) make(type);
        for (Map.Entry<?, ?> each : ((Map<?, ?>) value).entrySet()) {
            found.put(read(each.getKey(), key), read(each.getValue(), element));
        }
        return found;
    }

    @SuppressWarnings("unchecked")
    private static Object collection(Object value, Class<?> type, Type[] arguments) {
        if (!(value instanceof List)) {
            throw new IllegalArgumentException("cannot read a list from " + kind(value));
        }
        Type element = arguments.length == 1 ? arguments[0] : Object.class;
        Collection<Object> found;
        if (type.isInterface() || Modifier.isAbstract(type.getModifiers())) {
            found = Set.class.isAssignableFrom(type) ? new LinkedHashSet<Object>() : new ArrayList<Object>();
        } else {
            found = (Collection<Object>) make(type);
        }
        for (Object each : (List<?>) value) {
            found.add(read(each, element));
        }
        return found;
    }

    private static Object array(Object value, Class<?> raw, Type element) {
        if (!(value instanceof List)) {
            throw new IllegalArgumentException("cannot read an array from " + kind(value));
        }
        List<?> list = (List<?>) value;
        Object found = Array.newInstance(raw, list.size());
        for (int at = 0; at < list.size(); at++) {
            Array.set(found, at, read(list.get(at), element));
        }
        return found;
    }

    private static Object constant(String name, Class<?> type) {
        for (Object each : type.getEnumConstants()) {
            if (((Enum<?>) each).name().equals(name) || each.toString().equals(name)) {
                return each;
            }
        }
        throw new IllegalArgumentException("\"" + name + "\" is none of " + type.getSimpleName());
    }

    /** A class that can be made from text: a static parse, or a constructor. */
    private static Object parsed(Object value, Class<?> type) {
        try {
            for (String name : new String[] {"parse", "fromString", "valueOf"}) {
                for (Class<?> taken : new Class<?>[] {String.class, CharSequence.class}) {
                    try {
                        Method method = type.getMethod(name, taken);
                        if (Modifier.isStatic(method.getModifiers())) {
                            return method.invoke(null, value.toString());
                        }
                    } catch (NoSuchMethodException none) {
                        continue;
                    }
                }
            }
            return type.getConstructor(String.class).newInstance(value.toString());
        } catch (InvocationTargetException error) {
            throw new IllegalArgumentException(error.getCause());
        } catch (ReflectiveOperationException error) {
            throw new IllegalArgumentException("cannot read " + type.getName() + " from " + kind(value));
        }
    }

    private static Object make(Class<?> type) {
        try {
            Constructor<?> constructor = type.getDeclaredConstructor();
            constructor.setAccessible(true);
            return constructor.newInstance();
        } catch (InvocationTargetException error) {
            throw new IllegalArgumentException(error.getCause());
        } catch (ReflectiveOperationException error) {
            throw new IllegalArgumentException("cannot make " + type.getName() + ": it has no default constructor");
        }
    }

    private static Object bean(Map<?, ?> value, Class<?> type) {
        if (isRecord(type)) {
            return record(value, type);
        }
        Object made = make(type);
        for (Map.Entry<?, ?> each : value.entrySet()) {
            String name = each.getKey().toString();
            try {
                Method setter = setter(type, name);
                if (setter != null) {
                    setter.setAccessible(true);
                    setter.invoke(made, read(each.getValue(), setter.getGenericParameterTypes()[0]));
                    continue;
                }
                for (Field field : type.getFields()) {
                    if (field.getName().equalsIgnoreCase(name) && !Modifier.isStatic(field.getModifiers())) {
                        field.set(made, read(each.getValue(), field.getGenericType()));
                    }
                }
            } catch (InvocationTargetException error) {
                throw new IllegalArgumentException(error.getCause());
            } catch (IllegalAccessException error) {
                throw new IllegalArgumentException(error);
            }
        }
        return made;
    }

    private static Method setter(Class<?> type, String name) {
        Method found = null;
        for (Method each : type.getMethods()) {
            String called = each.getName();
            if (called.length() == name.length() + 3 && called.startsWith("set")
                    && called.regionMatches(true, 3, name, 0, name.length())
                    && each.getParameterTypes().length == 1 && !each.isBridge()) {
                // Exactly this name wins over one that differs in case.
                if (found == null || called.substring(4).equals(name.substring(1))) {
                    found = each;
                }
            }
        }
        return found;
    }

    // -- records, which this source's release does not know by name -----------------------------

    private static boolean isRecord(Class<?> type) {
        return type.getSuperclass() != null && type.getSuperclass().getName().equals("java.lang.Record");
    }

    private static Object[] components(Class<?> type) throws ReflectiveOperationException {
        return (Object[]) Class.class.getMethod("getRecordComponents").invoke(type);
    }

    private static Object component(Object component, String question) throws ReflectiveOperationException {
        return component.getClass().getMethod(question).invoke(component);
    }

    private static Object record(Map<?, ?> value, Class<?> type) {
        try {
            Object[] components = components(type);
            Class<?>[] types = new Class<?>[components.length];
            Object[] values = new Object[components.length];
            for (int at = 0; at < components.length; at++) {
                types[at] = (Class<?>) component(components[at], "getType");
                String name = (String) component(components[at], "getName");
                values[at] = read(named(value, name), (Type) component(components[at], "getGenericType"));
            }
            Constructor<?> constructor = type.getDeclaredConstructor(types);
            constructor.setAccessible(true);
            return constructor.newInstance(values);
        } catch (ReflectiveOperationException error) {
            throw new IllegalArgumentException(error);
        }
    }

    private static Object named(Map<?, ?> value, String name) {
        if (value.containsKey(name)) {
            return value.get(name);
        }
        for (Map.Entry<?, ?> each : value.entrySet()) {
            if (name.equalsIgnoreCase(each.getKey().toString())) {
                return each.getValue();
            }
        }
        return null;
    }

    // -- writing ----------------------------------------------------------------------------------

    /** Any value as plain JSON values. */
    static Object plain(Object value, int depth) {
        if (depth > DEPTH) {
            throw new Fault("the answer is nested too deeply", "java.lang.StackOverflowError");
        }
        if (value == null || value instanceof String || value instanceof Number || value instanceof Boolean) {
            return value;
        }
        if (value instanceof Map) {
            Map<String, Object> found = new LinkedHashMap<String, Object>();
            for (Map.Entry<?, ?> each : ((Map<?, ?>) value).entrySet()) {
                found.put(String.valueOf(each.getKey()), plain(each.getValue(), depth + 1));
            }
            return found;
        }
        if (value instanceof Iterable) {
            List<Object> found = new ArrayList<Object>();
            for (Object each : (Iterable<?>) value) {
                found.add(plain(each, depth + 1));
            }
            return found;
        }
        if (value instanceof byte[]) {
            return Base64.getEncoder().encodeToString((byte[]) value);
        }
        if (value instanceof ByteBuffer) {
            ByteBuffer copy = ((ByteBuffer) value).duplicate();
            byte[] bytes = new byte[copy.remaining()];
            copy.get(bytes);
            return Base64.getEncoder().encodeToString(bytes);
        }
        if (value.getClass().isArray()) {
            List<Object> found = new ArrayList<Object>();
            for (int at = 0; at < Array.getLength(value); at++) {
                found.add(plain(Array.get(value, at), depth + 1));
            }
            return found;
        }
        if (value instanceof Enum) {
            return ((Enum<?>) value).name();
        }
        if (value instanceof Date) {
            return ((Date) value).getTime();
        }
        String module = value.getClass().getName();
        if (value instanceof CharSequence || value instanceof Character || module.startsWith("java.") || module.startsWith("org.joda.")) {
            return value.toString();
        }
        return properties(value, depth);
    }

    private static Map<String, Object> properties(Object value, int depth) {
        Map<String, Object> found = new LinkedHashMap<String, Object>();
        Class<?> type = value.getClass();
        try {
            if (isRecord(type)) {
                for (Object each : components(type)) {
                    Method accessor = (Method) component(each, "getAccessor");
                    accessor.setAccessible(true);
                    found.put((String) component(each, "getName"), plain(accessor.invoke(value), depth + 1));
                }
                return found;
            }
            for (Method each : type.getMethods()) {
                String name = property(each);
                if (name != null) {
                    each.setAccessible(true);
                    found.put(name, plain(each.invoke(value), depth + 1));
                }
            }
            for (Field each : type.getFields()) {
                if (!Modifier.isStatic(each.getModifiers()) && !found.containsKey(each.getName())) {
                    found.put(each.getName(), plain(each.get(value), depth + 1));
                }
            }
        } catch (InvocationTargetException error) {
            Throwable cause = error.getCause();
            throw cause instanceof RuntimeException ? (RuntimeException) cause : new RuntimeException(cause);
        } catch (ReflectiveOperationException error) {
            throw new IllegalStateException(error);
        }
        return found;
    }

    /** The property a method reads, null if it is no getter. */
    private static String property(Method method) {
        String name = method.getName();
        if (method.getParameterTypes().length != 0 || Modifier.isStatic(method.getModifiers())
                || method.isBridge() || name.equals("getClass") || method.getDeclaringClass() == Object.class) {
            return null;
        }
        Class<?> type = method.getReturnType();
        int prefix = name.startsWith("get") && type != void.class ? 3
                : name.startsWith("is") && (type == boolean.class || type == Boolean.class) ? 2 : 0;
        if (prefix == 0 || name.length() == prefix) {
            return null;
        }
        char[] letters = name.substring(prefix).toCharArray();
        for (int at = 0; at < letters.length && Character.isUpperCase(letters[at]); at++) {
            letters[at] = Character.toLowerCase(letters[at]);
        }
        return new String(letters);
    }
}
