// Readers of Java. ../python/worker.py describes the protocol.

import java.io.*;
import java.nio.charset.StandardCharsets;
import java.util.*;

public class Readers {
    interface Reader {
        Object read(String contentType, byte[] body) throws Exception;
    }

    /** What a class that declares its fields gets. */
    public static class Request {
        public Object model;
        public Object stream;
    }

    static final Object ABSENT = new Object();

    static Object modelOf(Object data) {
        Object value = ((Map<?, ?>) data).get("model");
        return value == null ? ABSENT : value;
    }

    static String text(byte[] body) {
        return new String(body, StandardCharsets.UTF_8);
    }

    static Map<String, Reader> jsonReaders() {
        Map<String, Reader> readers = new LinkedHashMap<>();
        var jackson = new com.fasterxml.jackson.databind.ObjectMapper();
        readers.put("jackson map", (type, body) -> modelOf(jackson.readValue(body, Map.class)));
        readers.put("jackson tree", (type, body) -> {
            var value = jackson.readTree(body).get("model");
            return value == null || value.isNull() ? ABSENT : value.isTextual() ? value.textValue() : value;
        });
        var bean = new com.fasterxml.jackson.databind.ObjectMapper()
            .configure(com.fasterxml.jackson.databind.DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES, false);
        readers.put("jackson bean", (type, body) -> {
            Object value = bean.readValue(body, Request.class).model;
            return value == null ? ABSENT : value;
        });
        var jackson1 = new org.codehaus.jackson.map.ObjectMapper();
        readers.put("jackson 1", (type, body) -> modelOf(jackson1.readValue(body, Map.class)));
        var gson = new com.google.gson.Gson();
        readers.put("gson map", (type, body) -> modelOf(gson.fromJson(text(body), Map.class)));
        readers.put("gson bean", (type, body) -> {
            Object value = gson.fromJson(text(body), Request.class).model;
            return value == null ? ABSENT : value;
        });
        readers.put("gson tree", (type, body) -> {
            var value = com.google.gson.JsonParser.parseString(text(body)).getAsJsonObject().get("model");
            return value == null || value.isJsonNull() ? ABSENT : value.getAsString();
        });
        readers.put("json-simple", (type, body) ->
            modelOf(new org.json.simple.parser.JSONParser().parse(text(body))));
        readers.put("json-smart", (type, body) -> modelOf(net.minidev.json.JSONValue.parse(text(body))));
        readers.put("json-smart bytes", (type, body) -> modelOf(net.minidev.json.JSONValue.parse(body)));
        readers.put("json-smart strict", (type, body) -> modelOf(
            new net.minidev.json.parser.JSONParser(net.minidev.json.parser.JSONParser.MODE_RFC4627).parse(text(body))));
        readers.put("jettison", (type, body) -> {
            var object = new org.codehaus.jettison.json.JSONObject(text(body));
            return object.isNull("model") ? ABSENT : object.opt("model");
        });
        readers.put("snakeyaml", (type, body) -> modelOf(
            new org.yaml.snakeyaml.Yaml(new org.yaml.snakeyaml.constructor.SafeConstructor()).load(text(body))));
        return readers;
    }

    static Map<String, Reader> formReaders() {
        Map<String, Reader> readers = new LinkedHashMap<>();
        readers.put("commons-fileupload", (type, body) -> {
            var context = new org.apache.commons.fileupload.UploadContext() {
                public String getCharacterEncoding() { return null; }
                public String getContentType() { return type; }
                public int getContentLength() { return body.length; }
                public long contentLength() { return body.length; }
                public InputStream getInputStream() { return new ByteArrayInputStream(body); }
            };
            if (!org.apache.commons.fileupload.FileUploadBase.isMultipartContent(context)) return ABSENT;
            var upload = new org.apache.commons.fileupload.FileUpload(
                new org.apache.commons.fileupload.disk.DiskFileItemFactory());
            for (var item : upload.parseRequest(context))
                if (item.isFormField() && "model".equals(item.getFieldName())) return item.getString("UTF-8");
            return ABSENT;
        });
        File folder = new File(System.getProperty("java.io.tmpdir"));
        readers.put("jetty", (type, body) -> {
            var form = new org.eclipse.jetty.http.MultiPartFormInputStream(new ByteArrayInputStream(body), type,
                new javax.servlet.MultipartConfigElement(folder.getPath()), folder);
            for (var part : form.getParts())
                if (part.getName().equals("model") && part.getSubmittedFileName() == null)
                    return text(part.getInputStream().readAllBytes());
            return ABSENT;
        });
        return readers;
    }

    static void put(DataOutputStream output, byte[] bytes) throws IOException {
        output.writeInt(bytes.length);
        output.write(bytes);
    }

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    static byte[] outcome(Reader reader, String type, byte[] body) {
        try {
            Object value = reader.read(type, body);
            return bytes(value == ABSENT || value == null ? "A" : "V" + value);
        } catch (Throwable error) {
            return bytes("E" + error);
        }
    }

    public static void main(String[] arguments) throws Exception {
        var readers = arguments[0].equals("form") ? formReaders() : jsonReaders();
        var input = new DataInputStream(new BufferedInputStream(System.in));
        var output = new DataOutputStream(new BufferedOutputStream(System.out));
        System.setOut(System.err);
        output.writeInt(readers.size());
        for (String name : readers.keySet()) {
            put(output, bytes(name));
            put(output, new byte[0]);
        }
        output.flush();
        String[] types = {};
        byte[][] bodies = {};
        for (int kind; (kind = input.read()) >= 0; ) {
            if (kind == 'B') {
                int count = input.readInt();
                types = new String[count];
                bodies = new byte[count][];
                for (int at = 0; at < count; at++) {
                    types[at] = new String(input.readNBytes(input.readInt()), StandardCharsets.ISO_8859_1);
                    bodies[at] = input.readNBytes(input.readInt());
                }
                continue;
            }
            Reader reader = readers.get(new String(input.readNBytes(input.readInt()), StandardCharsets.UTF_8));
            int begin = input.readInt();
            long end = System.nanoTime() + input.readInt() * 1_000_000L;
            byte[][] outcomes = new byte[bodies.length][];
            for (int offset = 0; offset < bodies.length; offset++) {
                int at = (begin + offset) % bodies.length;
                outcomes[at] = outcome(reader, types[at], bodies[at].clone());
                if (System.nanoTime() > end) break;
            }
            for (byte[] bytes : outcomes) put(output, bytes == null ? bytes("S") : bytes);
            output.flush();
        }
    }
}
