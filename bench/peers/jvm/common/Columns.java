package centinela.bench;

import java.util.List;

/** The places of the twenty features that every contender computes among the model's columns. */
public final class Columns {
    public final int width;
    public final int amount;
    public final int hour;
    public final int weekday;
    public final int night;
    public final int deviceType;
    public final int transactions;
    public final int secondsSinceLast;
    public final int mean;
    public final int z;
    public final int ratioMean;
    public final int ratioLargest;
    public final int newDevice;
    public final int[] counts = new int[4];
    public final int[] sums = new int[4];

    public Columns(List<String> names) {
        width = names.size();
        amount = place(names, "amount");
        hour = place(names, "hour");
        weekday = place(names, "weekday");
        night = place(names, "night");
        deviceType = place(names, "device_type");
        transactions = place(names, "user_transactions");
        secondsSinceLast = place(names, "user_seconds_since_last");
        mean = place(names, "user_mean");
        z = place(names, "user_z");
        ratioMean = place(names, "user_ratio_mean");
        ratioLargest = place(names, "user_ratio_largest");
        newDevice = place(names, "user_new_device");
        String[] windows = {"1h", "1d", "7d", "30d"};
        for (int window = 0; window < windows.length; window++) {
            counts[window] = place(names, "user_count_" + windows[window]);
            sums[window] = place(names, "user_sum_" + windows[window]);
        }
    }

    private static int place(List<String> names, String name) {
        int place = names.indexOf(name);
        if (place < 0) {
            throw new IllegalStateException("the model has no feature " + name + "; the contenders must be changed with the model");
        }
        return place;
    }
}
