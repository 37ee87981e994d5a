package lambent.runtime;

import java.math.BigDecimal;
import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** JSON as plain values: Map, List, String, Number, Boolean, null. */
final class Json {
    private static final int DEPTH = 1000;
    private final String text;
    private int at;

    private Json(String text) {
        this.text = text;
    }

    /** Read one value; throws IllegalArgumentException. */
    static Object parse(byte[] data) {
        Json json = new Json(new String(data, StandardCharsets.UTF_8));
        Object value = json.value(0);
        json.space();
        if (json.at < json.text.length()) {
            throw json.wrong();
        }
        return value;
    }

    private IllegalArgumentException wrong() {
        return new IllegalArgumentException("not JSON at character " + at);
    }

    private void space() {
        while (at < text.length() && text.charAt(at) <= ' ') {
            at++;
        }
    }

    private char peek() {
        space();
        if (at >= text.length()) {
            throw wrong();
        }
        return text.charAt(at);
    }

    private Object value(int depth) {
        if (depth > DEPTH) {
            throw wrong();
        }
        switch (peek()) {
            case '{':
                return object(depth);
            case '[':
                return array(depth);
            case '"':
                return string();
            case 't':
                return word("true", Boolean.TRUE);
            case 'f':
                return word("false", Boolean.FALSE);
            case 'n':
                return word("null", null);
            default:
                return number();
        }
    }

    private Object word(String word, Object value) {
        if (!text.startsWith(word, at)) {
            throw wrong();
        }
        at += word.length();
        return value;
    }

    private Map<String, Object> object(int depth) {
        Map<String, Object> found = new LinkedHashMap<String, Object>();
        at++;
        if (peek() == '}') {
            at++;
            return found;
        }
        while (true) {
            if (peek() != '"') {
                throw wrong();
            }
            String name = string();
            if (peek() != ':') {
                throw wrong();
            }
            at++;
            found.put(name, value(depth + 1));
            char next = peek();
            at++;
            if (next == '}') {
                return found;
            }
            if (next != ',') {
                throw wrong();
            }
        }
    }

    private List<Object> array(int depth) {
        List<Object> found = new ArrayList<Object>();
        at++;
        if (peek() == ']') {
            at++;
            return found;
        }
        while (true) {
            found.add(value(depth + 1));
            char next = peek();
            at++;
            if (next == ']') {
                return found;
            }
            if (next != ',') {
                throw wrong();
            }
        }
    }

    private String string() {
        int begin = ++at;
        StringBuilder built = null;
        while (at < text.length()) {
            char next = text.charAt(at++);
            if (next == '"') {
                return built == null ? text.substring(begin, at - 1) : built.toString();
            }
            if (next != '\\') {
                if (built != null) {
                    built.append(next);
                }
                continue;
            }
            if (built == null) {
                built = new StringBuilder(text.substring(begin, at - 1));
            }
            if (at >= text.length()) {
                break;
            }
            built.append(escaped(text.charAt(at++)));
        }
        throw wrong();
    }

    private char escaped(char kind) {
        switch (kind) {
            case 'b':
                return '\b';
            case 'f':
                return '\f';
            case 'n':
                return '\n';
            case 'r':
                return '\r';
            case 't':
                return '\t';
            case 'u':
                if (at + 4 > text.length()) {
                    throw wrong();
                }
                at += 4;
                return (char) Integer.parseInt(text.substring(at - 4, at), 16);
            default:
                return kind;
        }
    }

    private Number number() {
        int begin = at;
        boolean whole = true;
        while (at < text.length()) {
            char next = text.charAt(at);
            if (next == '.' || next == 'e' || next == 'E') {
                whole = false;
            } else if (next != '-' && next != '+' && (next < '0' || next > '9')) {
                break;
            }
            at++;
        }
        String digits = text.substring(begin, at);
        try {
            if (!whole) {
                return Double.valueOf(digits);
            }
            if (digits.length() < 19) {
                long value = Long.parseLong(digits);
                if (value == (int) value) {
                    return Integer.valueOf((int) value);
                }
                return Long.valueOf(value);
            }
            BigInteger big = new BigInteger(digits);
            return big.bitLength() < 64 ? (Number) Long.valueOf(big.longValue()) : big;
        } catch (NumberFormatException error) {
            throw wrong();
        }
    }

    /** Write plain values. */
    static String write(Object value) {
        StringBuilder text = new StringBuilder(256);
        write(value, text);
        return text.toString();
    }

    private static void write(Object value, StringBuilder text) {
        if (value == null) {
            text.append("null");
        } else if (value instanceof String) {
            quote((String) value, text);
        } else if (value instanceof Map) {
            char separator = '{';
            for (Map.Entry<?, ?> each : ((Map<?, ?>) value).entrySet()) {
                text.append(separator);
                quote(String.valueOf(each.getKey()), text);
                text.append(':');
                write(each.getValue(), text);
                separator = ',';
            }
            text.append(separator == '{' ? "{}" : "}");
        } else if (value instanceof List) {
            char separator = '[';
            for (Object each : (List<?>) value) {
                text.append(separator);
                write(each, text);
                separator = ',';
            }
            text.append(separator == '[' ? "[]" : "]");
        } else if (value instanceof BigDecimal) {
            text.append(((BigDecimal) value).toString());
        } else if (value instanceof Double && (((Double) value).isNaN() || ((Double) value).isInfinite())
                || value instanceof Float && (((Float) value).isNaN() || ((Float) value).isInfinite())) {
            quote(value.toString(), text);
        } else {
            text.append(value);
        }
    }

    private static void quote(String value, StringBuilder text) {
        text.append('"');
        for (int at = 0; at < value.length(); at++) {
            char next = value.charAt(at);
            if (next == '"' || next == '\\') {
                text.append('\\').append(next);
            } else if (next == '\n') {
                text.append("\\n");
            } else if (next == '\r') {
                text.append("\\r");
            } else if (next == '\t') {
                text.append("\\t");
            } else if (next < ' ' || Character.isSurrogate(next) && !paired(value, at)) {
                String hex = Integer.toHexString(next);
                text.append("\\u").append("0000", 0, 4 - hex.length()).append(hex);
            } else {
                text.append(next);
            }
        }
        text.append('"');
    }

    private static boolean paired(String value, int at) {
        return Character.isHighSurrogate(value.charAt(at))
                ? at + 1 < value.length() && Character.isLowSurrogate(value.charAt(at + 1))
                : at > 0 && Character.isHighSurrogate(value.charAt(at - 1));
    }
}
