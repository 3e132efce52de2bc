package centinela.bench;

import java.io.Serializable;
import java.nio.charset.StandardCharsets;

/** What goes out: a bean with the topic, the key and the payload. */
public final class Decision implements Serializable {
    private static final long serialVersionUID = 1;

    public String key;
    public String topic;
    public String value;

    public Decision() {}

    public Decision(String transactionId, String userId, float score, boolean blocked) {
        key = transactionId;
        topic = blocked ? "blocked" : "approved";
        // Identifiers of the simulated world have no letter that JSON escapes.
        value = "{\"version\":1,\"transaction_id\":\"" + transactionId + "\",\"user_id\":\"" + userId + "\",\"decision\":\""
                + (blocked ? "BLOCKED" : "APPROVED") + "\",\"score\":" + score + "}";
    }

    public byte[] keyBytes() { return key.getBytes(StandardCharsets.UTF_8); }
    public byte[] valueBytes() { return value.getBytes(StandardCharsets.UTF_8); }
    public String getKey() { return key; }
    public void setKey(String value) { key = value; }
    public String getTopic() { return topic; }
    public void setTopic(String value) { topic = value; }
    public String getValue() { return value; }
    public void setValue(String text) { value = text; }
}
