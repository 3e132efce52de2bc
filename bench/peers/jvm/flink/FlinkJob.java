package centinela.bench;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.base.DeliveryGuarantee;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.connector.kafka.sink.KafkaSink;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.util.Collector;
import org.apache.kafka.clients.producer.ProducerRecord;

/**
 * Decisions in Flink: state in the heap, a checkpoint to the disk every second.
 *
 * <p>Arguments: BOOTSTRAP at-least-once|exactly-once MODEL_DIRECTORY BUFFER_TIMEOUT_MS. In one process, two slots: the whole machine.
 */
public final class FlinkJob {
    private static final int PARALLELISM = 2;
    /** Below the brokers' largest, 15 minutes. */
    private static final String TRANSACTION_TIMEOUT_MS = "600000";
    /** As long as the other contenders' producers gather; Kafka's client for Java gathers five since 4.0. */
    private static final String LINGER_MS = "1";

    private FlinkJob() {}

    public static void main(String[] arguments) throws Exception {
        String bootstrap = arguments[0];
        DeliveryGuarantee guarantee = switch (arguments[1]) {
            case "at-least-once" -> DeliveryGuarantee.AT_LEAST_ONCE;
            case "exactly-once" -> DeliveryGuarantee.EXACTLY_ONCE;
            default -> throw new IllegalArgumentException("at-least-once or exactly-once, not " + arguments[1]);
        };
        StreamExecutionEnvironment environment = environment(guarantee);
        environment.setBufferTimeout(Long.parseLong(arguments[3]));
        KafkaSource<Transaction> source = KafkaSource.<Transaction>builder()
                .setBootstrapServers(bootstrap)
                .setTopics("transactions")
                .setGroupId("flink")
                .setStartingOffsets(OffsetsInitializer.earliest())
                .setValueOnlyDeserializer(new Payloads())
                .build();
        KafkaSink<Decision> sink = KafkaSink.<Decision>builder()
                .setBootstrapServers(bootstrap)
                .setRecordSerializer(new Records())
                .setDeliveryGuarantee(guarantee)
                .setTransactionalIdPrefix("flink")
                .setProperty("transaction.timeout.ms", TRANSACTION_TIMEOUT_MS)
                .setProperty("linger.ms", LINGER_MS)
                .build();
        environment.fromSource(source, WatermarkStrategy.noWatermarks(), "transactions")
                .keyBy(transaction -> transaction.userId)
                .process(new Decide(arguments[2]))
                .sinkTo(sink);
        environment.execute("decisions");
    }

    private static StreamExecutionEnvironment environment(DeliveryGuarantee guarantee) throws IOException {
        Path checkpoints = Files.createTempDirectory(Path.of("").toAbsolutePath(), "checkpoints");
        Configuration settings = Configuration.fromMap(Map.of(
                "state.backend.type", "hashmap",
                "execution.checkpointing.interval", "1 s",
                "execution.checkpointing.mode",
                        guarantee == DeliveryGuarantee.EXACTLY_ONCE ? "EXACTLY_ONCE" : "AT_LEAST_ONCE",
                "execution.checkpointing.dir", checkpoints.toUri().toString(),
                "pipeline.object-reuse", "true",
                "rest.port", "0"));
        return StreamExecutionEnvironment.createLocalEnvironment(PARALLELISM, settings);
    }

    /** The state of each user, and the model once per slot. */
    private static final class Decide extends KeyedProcessFunction<String, Transaction, Decision> {
        private static final long serialVersionUID = 1;
        private final String modelDirectory;
        private transient Model model;
        private transient ValueState<UserState> states;

        Decide(String modelDirectory) {
            this.modelDirectory = modelDirectory;
        }

        @Override
        public void open(OpenContext context) throws Exception {
            model = new Model(modelDirectory);
            states = getRuntimeContext().getState(new ValueStateDescriptor<>("user", TypeInformation.of(UserState.class)));
        }

        @Override
        public void processElement(Transaction transaction, Context context, Collector<Decision> out) throws Exception {
            UserState state = states.value();
            if (state == null) {
                state = new UserState();
            } else if (state.remembers(transaction)) {
                return;
            }
            out.collect(model.decide(transaction, state));
            states.update(state);
        }
    }

    private static final class Payloads implements DeserializationSchema<Transaction> {
        private static final long serialVersionUID = 1;

        @Override
        public Transaction deserialize(byte[] payload) throws IOException {
            return Transaction.parse(payload);
        }

        @Override
        public boolean isEndOfStream(Transaction next) {
            return false;
        }

        @Override
        public TypeInformation<Transaction> getProducedType() {
            return TypeInformation.of(Transaction.class);
        }
    }

    private static final class Records implements KafkaRecordSerializationSchema<Decision> {
        private static final long serialVersionUID = 1;

        @Override
        public ProducerRecord<byte[], byte[]> serialize(Decision decision, KafkaSinkContext context, Long timestamp) {
            return new ProducerRecord<>(decision.topic, decision.keyBytes(), decision.valueBytes());
        }
    }
}
