package centinela.bench;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import java.io.IOException;
import java.io.Serializable;

/** What is read of a transaction. A bean with public fields, as both engines like it. */
public final class Transaction implements Serializable {
    private static final long serialVersionUID = 1;
    private static final JsonFactory JSON = new JsonFactory();

    public String transactionId;
    public String userId;
    public long timestamp;
    public double amount;
    public String deviceId;
    public String deviceType;

    public Transaction() {}

    /** Reads the payload without a tree in between. */
    public static Transaction parse(byte[] payload) throws IOException {
        Transaction transaction = new Transaction();
        try (JsonParser parser = JSON.createParser(payload)) {
            parser.nextToken();
            while (parser.nextToken() == JsonToken.FIELD_NAME) {
                String field = parser.currentName();
                parser.nextToken();
                switch (field) {
                    case "transaction_id" -> transaction.transactionId = parser.getText();
                    case "user_id" -> transaction.userId = parser.getText();
                    case "timestamp" -> transaction.timestamp = parser.getLongValue();
                    case "amount" -> transaction.amount = parser.getDoubleValue();
                    case "device_id" -> transaction.deviceId = parser.getText();
                    case "device_type" -> transaction.deviceType = parser.getText();
                    default -> parser.skipChildren();
                }
            }
        }
        return transaction;
    }

    public String getTransactionId() { return transactionId; }
    public void setTransactionId(String value) { transactionId = value; }
    public String getUserId() { return userId; }
    public void setUserId(String value) { userId = value; }
    public long getTimestamp() { return timestamp; }
    public void setTimestamp(long value) { timestamp = value; }
    public double getAmount() { return amount; }
    public void setAmount(double value) { amount = value; }
    public String getDeviceId() { return deviceId; }
    public void setDeviceId(String value) { deviceId = value; }
    public String getDeviceType() { return deviceType; }
    public void setDeviceType(String value) { deviceType = value; }
}
