package centinela.bench;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import org.apache.spark.api.java.function.FlatMapGroupsWithStateFunction;
import org.apache.spark.api.java.function.MapFunction;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Encoders;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.streaming.GroupState;
import org.apache.spark.sql.streaming.GroupStateTimeout;
import org.apache.spark.sql.streaming.OutputMode;

/**
 * Decisions in Spark Structured Streaming: micro-batches as fast as they come, state in RocksDB.
 *
 * <p>Arguments: BOOTSTRAP MODEL_DIRECTORY. In one process, two threads: the whole machine.
 */
public final class SparkJob {
    private static final int PARTITIONS = 2;
    /** Without a bound the whole of a backlog would be one batch. */
    private static final int RECORDS_A_BATCH = 20_000;
    /** One for each thread that decides: a session is not shared. */
    private static final ThreadLocal<Model> MODEL = new ThreadLocal<>();

    private SparkJob() {}

    public static void main(String[] arguments) throws Exception {
        String bootstrap = arguments[0];
        String modelDirectory = arguments[1];
        Path checkpoints = Files.createTempDirectory(Path.of("").toAbsolutePath(), "checkpoints");
        SparkSession spark = SparkSession.builder()
                .master("local[" + PARTITIONS + "]")
                .appName("decisions")
                .config("spark.ui.enabled", "false")
                .config("spark.sql.shuffle.partitions", PARTITIONS)
                .config("spark.sql.streaming.stateStore.providerClass",
                        "org.apache.spark.sql.execution.streaming.state.RocksDBStateStoreProvider")
                .config("spark.sql.streaming.stateStore.rocksdb.changelogCheckpointing.enabled", "true")
                .config("spark.driver.bindAddress", "127.0.0.1")
                .config("spark.driver.host", "127.0.0.1")
                .getOrCreate();
        Dataset<Transaction> transactions = spark.readStream()
                .format("kafka")
                .option("kafka.bootstrap.servers", bootstrap)
                .option("subscribe", "transactions")
                .option("startingOffsets", "earliest")
                .option("maxOffsetsPerTrigger", RECORDS_A_BATCH)
                .load()
                .select("value")
                .as(Encoders.BINARY())
                .map((MapFunction<byte[], Transaction>) Transaction::parse, Encoders.bean(Transaction.class));
        Dataset<Decision> decisions = transactions
                .groupByKey((MapFunction<Transaction, String>) transaction -> transaction.userId, Encoders.STRING())
                .flatMapGroupsWithState(decide(modelDirectory), OutputMode.Append(), Encoders.kryo(UserState.class),
                        Encoders.bean(Decision.class), GroupStateTimeout.NoTimeout());
        decisions.writeStream()
                .format("kafka")
                .option("kafka.bootstrap.servers", bootstrap)
                .option("checkpointLocation", checkpoints.toString())
                .outputMode(OutputMode.Append())
                .start()
                .awaitTermination();
    }

    private static FlatMapGroupsWithStateFunction<String, Transaction, UserState, Decision> decide(String modelDirectory) {
        return (user, transactions, known) -> decideUser(modelDirectory, transactions, known);
    }

    private static Iterator<Decision> decideUser(
            String modelDirectory, Iterator<Transaction> transactions, GroupState<UserState> known) throws Exception {
        if (MODEL.get() == null) {
            MODEL.set(new Model(modelDirectory));
        }
        UserState state = known.exists() ? known.get() : new UserState();
        List<Transaction> inOrder = new ArrayList<>();
        transactions.forEachRemaining(inOrder::add);
        inOrder.sort((one, other) -> Long.compare(one.timestamp, other.timestamp));
        List<Decision> decisions = new ArrayList<>();
        for (Transaction transaction : inOrder) {
            if (!state.remembers(transaction)) {
                decisions.add(MODEL.get().decide(transaction, state));
            }
        }
        known.update(state);
        return decisions.iterator();
    }
}
