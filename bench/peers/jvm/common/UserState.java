package centinela.bench;

import java.io.Serializable;

/** What is kept of a user: aggregates that fade, devices, and the newest transactions, so that a duplicate is not decided twice. */
public final class UserState implements Serializable {
    private static final long serialVersionUID = 1;
    private static final double HOUR_MS = 3_600_000.0;
    /** Half-lives of the counts and sums: an hour, a day, a week, thirty days. */
    private static final double[] HALF_LIVES_MS = {HOUR_MS, 24 * HOUR_MS, 168 * HOUR_MS, 720 * HOUR_MS};
    private static final int DEVICES_MAX = 16;
    private static final int REMEMBERED_MAX = 16;
    private static final long DAY_MS = 24L * 3_600_000;

    public long newestAt;
    public long transactions;
    public double mean;
    public double squares;
    public double largest;
    public double[] counts = new double[4];
    public double[] sums = new double[4];
    public int[] devices = new int[DEVICES_MAX];
    public int devicesKnown;
    public long[] remembered = new long[REMEMBERED_MAX];
    public int rememberedNext;

    public UserState() {}

    /** Whether the transaction was decided before; the newest sixteen are known. */
    public boolean remembers(Transaction transaction) {
        long digest = digest(transaction.transactionId);
        for (long known : remembered) {
            if (known == digest) {
                return true;
            }
        }
        return false;
    }

    /** Fills the model's row, before the transaction changes anything. What is not computed is missing. */
    public void fill(float[] row, Transaction transaction, Columns columns) {
        java.util.Arrays.fill(row, Float.NaN);
        long at = transaction.timestamp;
        double amount = transaction.amount;
        long hour = Math.floorMod(at, DAY_MS) / 3_600_000;
        row[columns.amount] = (float) amount;
        row[columns.hour] = hour;
        row[columns.weekday] = Math.floorMod(Math.floorDiv(at, DAY_MS) + 3, 7L);
        row[columns.night] = hour < 6 ? 1 : 0;
        row[columns.deviceType] = deviceType(transaction.deviceType);
        row[columns.transactions] = transactions;
        for (int place = 0; place < HALF_LIVES_MS.length; place++) {
            double faded = faded(at, place);
            row[columns.counts[place]] = (float) (counts[place] * faded);
            row[columns.sums[place]] = (float) (sums[place] * faded);
        }
        if (transactions > 0) {
            double halfMean = 0.5 * mean;
            double variance = (squares + 3 * halfMean * halfMean) / (transactions + 3);
            row[columns.secondsSinceLast] = (float) (Math.max(0, at - newestAt) / 1_000.0);
            row[columns.mean] = (float) mean;
            row[columns.z] = (float) ((amount - mean) / Math.max(0.01, Math.sqrt(variance)));
            row[columns.ratioMean] = (float) (amount / Math.max(0.01, mean));
            row[columns.ratioLargest] = (float) (amount / Math.max(0.01, largest));
            row[columns.newDevice] = knows(transaction.deviceId.hashCode()) ? 0 : 1;
        }
    }

    /** Lets the transaction change the state. */
    public void apply(Transaction transaction) {
        long at = transaction.timestamp;
        double amount = transaction.amount;
        for (int place = 0; place < HALF_LIVES_MS.length; place++) {
            double faded = faded(at, place);
            counts[place] = counts[place] * faded + 1;
            sums[place] = sums[place] * faded + amount;
        }
        newestAt = Math.max(newestAt, at);
        transactions++;
        double distance = amount - mean;
        mean += distance / transactions;
        squares += distance * (amount - mean);
        largest = Math.max(largest, amount);
        int device = transaction.deviceId.hashCode();
        if (!knows(device)) {
            devices[devicesKnown++ % DEVICES_MAX] = device;
        }
        remembered[rememberedNext++ % REMEMBERED_MAX] = digest(transaction.transactionId);
    }

    private double faded(long at, int place) {
        return Math.pow(2, -Math.max(0, at - newestAt) / HALF_LIVES_MS[place]);
    }

    private boolean knows(int device) {
        for (int place = 0; place < Math.min(devicesKnown, DEVICES_MAX); place++) {
            if (devices[place] == device) {
                return true;
            }
        }
        return false;
    }

    private static float deviceType(String name) {
        return switch (name) {
            case "mobile" -> 0;
            case "desktop" -> 1;
            case "tablet" -> 2;
            case "pos" -> 3;
            default -> 4;
        };
    }

    /** 64 bits of an id: two hashes of Java's kind, forwards and with another factor. Never 0, which is an empty place. */
    private static long digest(String id) {
        long other = 7;
        for (int place = 0; place < id.length(); place++) {
            other = other * 1_000_003 + id.charAt(place);
        }
        return ((long) id.hashCode() << 32 ^ other) | 1;
    }
}
