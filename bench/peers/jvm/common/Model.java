package centinela.bench;

import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import java.io.IOException;
import java.nio.FloatBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** The model of this repository in ONNX Runtime, on one thread. */
public final class Model {
    private final OrtEnvironment environment = OrtEnvironment.getEnvironment();
    private final OrtSession session;
    private final String input;
    private final float[] row;
    private final float blockAbove;
    public final Columns columns;

    public Model(String directory) throws OrtException, IOException {
        List<String> names = new ArrayList<>();
        blockAbove = readManifest(Path.of(directory, "manifest.json"), names);
        columns = new Columns(names);
        row = new float[columns.width];
        OrtSession.SessionOptions options = new OrtSession.SessionOptions();
        options.setIntraOpNumThreads(1);
        options.setInterOpNumThreads(1);
        options.setOptimizationLevel(OrtSession.SessionOptions.OptLevel.ALL_OPT);
        session = environment.createSession(Path.of(directory, "model.onnx").toString(), options);
        input = session.getInputNames().iterator().next();
    }

    /** Decides one transaction and lets it change the state. */
    public Decision decide(Transaction transaction, UserState state) throws OrtException {
        state.fill(row, transaction, columns);
        float score = score();
        state.apply(transaction);
        return new Decision(transaction.transactionId, transaction.userId, score, score > blockAbove);
    }

    private float score() throws OrtException {
        try (OnnxTensor tensor = OnnxTensor.createTensor(environment, FloatBuffer.wrap(row), new long[] {1, row.length});
                OrtSession.Result result = session.run(Map.of(input, tensor), Set.of("probabilities"))) {
            return ((float[][]) result.get(0).getValue())[0][1];
        }
    }

    /** Adds the names of the features and returns the threshold. */
    private static float readManifest(Path path, List<String> names) throws IOException {
        float threshold = Float.NaN;
        try (JsonParser parser = new JsonFactory().createParser(Files.readAllBytes(path))) {
            while (parser.nextToken() != null) {
                if (parser.currentToken() != JsonToken.FIELD_NAME) {
                    continue;
                }
                String field = parser.currentName();
                parser.nextToken();
                if (field.equals("features") && parser.currentToken() == JsonToken.START_ARRAY) {
                    while (parser.nextToken() != JsonToken.END_ARRAY) {
                        names.add(parser.getText());
                    }
                } else if (field.equals("block_above")) {
                    threshold = parser.getFloatValue();
                }
            }
        }
        return threshold;
    }
}
