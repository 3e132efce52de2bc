import static io.trino.execution.querystats.PlanOptimizersStatsCollector.createPlanOptimizersStatsCollector;

import com.google.common.collect.ImmutableMap;
import io.trino.Session;
import io.trino.connector.MockConnectorFactory;
import io.trino.connector.MockConnectorTableHandle;
import io.trino.execution.warnings.WarningCollector;
import io.trino.spi.connector.ColumnMetadata;
import io.trino.spi.connector.ConnectorViewDefinition;
import io.trino.spi.connector.ConnectorViewDefinition.ViewColumn;
import io.trino.spi.connector.SchemaTableName;
import io.trino.sql.planner.Plan;
import io.trino.sql.planner.planprinter.PlanPrinter;
import io.trino.testing.LocalQueryRunner;
import io.trino.testing.MaterializedResult;
import io.trino.testing.TestingSession;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * Questions SQL_DIRECTORY WORLD_DIRECTORY OUT_DIRECTORY: every ready question in Athena's spelling. Plans it over the lake's tables, and
 * insists that each scan is limited to the days that were asked for; asks it over the small world, and writes the rows to NAME.tsv.
 */
public class Questions {
    /** A day that no question has as its default. */
    private static final String DAY = "2026-11-28";

    private static final Session SESSION =
            TestingSession.testSessionBuilder().setCatalog("awsdatacatalog").setSchema("centinela").build();

    public static void main(String[] directories) throws Exception {
        Path sql = Path.of(directories[0]);
        List<Path> questions;
        try (Stream<Path> files = Files.list(sql)) {
            questions = files.filter(file -> file.toString().endsWith(".sql") && !file.endsWith("tables.sql")).sorted()
                    .collect(Collectors.toList());
        }
        LocalQueryRunner lake = runner(sql, Map.of());
        Map<String, String> world = new HashMap<>();
        for (String table : tables(lake, sql).keySet()) {
            world.put(table, Files.readString(Path.of(directories[1]).resolve(table + ".sql")));
        }
        LocalQueryRunner small = runner(sql, world);
        int failed = 0;
        for (Path question : questions) {
            Path athena = sql.resolve("athena").resolve(question.getFileName());
            String text = Files.readString(Files.exists(athena) ? athena : question);
            try {
                int scans = pruned(lake, text.replace("2020-01-01 00:00:00", DAY + " 05:00:00"));
                MaterializedResult rows = small.execute(SESSION, text);
                String name = question.getFileName().toString().replace(".sql", ".tsv");
                Files.writeString(Path.of(directories[2]).resolve(name), tabbed(rows));
                System.out.printf("%s: %d scans limited to their days, %d rows%n", question.getFileName(), scans, rows.getRowCount());
            } catch (Throwable error) {
                failed++;
                System.out.printf("%s: %s%n", question.getFileName(), error.getMessage());
            }
        }
        System.exit(failed == 0 ? 0 : 1);
    }

    /** The number of scans, each of which must have the day as a constant: only so Athena opens the manifests of these days alone. */
    private static int pruned(LocalQueryRunner runner, String sql) {
        String plan = runner.inTransaction(SESSION, session -> {
            Plan made = runner.createPlan(session, sql, WarningCollector.NOOP, createPlanOptimizersStatsCollector());
            return PlanPrinter.textLogicalPlan(made.getRoot(), made.getTypes(), runner.getMetadata(), runner.getFunctionManager(),
                    made.getStatsAndCosts(), session, 0, false);
        });
        long scans = plan.lines().filter(line -> line.contains("TableScan") || line.contains("ScanFilter")).count();
        long limited = plan.lines().filter(line -> line.contains("ScanFilter") && line.contains("'" + DAY + "'")).count();
        if (scans != limited) {
            throw new IllegalStateException((scans - limited) + " of " + scans + " scans read every day:\n" + plan);
        }
        return (int) scans;
    }

    private static String tabbed(MaterializedResult rows) {
        Stream<String> header = Stream.of(String.join("\t", rows.getColumnNames()));
        Stream<String> lines = rows.getMaterializedRows().stream()
                .map(row -> row.getFields().stream().map(String::valueOf).collect(Collectors.joining("\t")));
        return Stream.concat(header, lines).collect(Collectors.joining("\n", "", "\n"));
    }

    /** Trino with the lake's views, and its tables: as tables that can only be planned, or as views of what they hold. */
    private static LocalQueryRunner runner(Path sql, Map<String, String> held) throws Exception {
        LocalQueryRunner runner = LocalQueryRunner.create(SESSION);
        Map<String, List<ColumnMetadata>> tables = tables(runner, sql);
        Map<SchemaTableName, ConnectorViewDefinition> views = new HashMap<>();
        held.forEach((table, text) -> views.put(named(table), view(text, tables.get(table))));
        views.put(named("decisions"), view(Files.readString(sql.resolve("views/decisions.sql")), tables.get("approved")));
        views.put(named("feature_names"), view(Files.readString(sql.resolve("views/feature_names.sql")),
                columns(runner, Map.of("features_version", "integer", "position", "integer", "name", "varchar"), "features_version", "position", "name")));
        boolean areTables = held.isEmpty();
        runner.createCatalog("awsdatacatalog", MockConnectorFactory.builder()
                .withListSchemaNames(session -> List.of("centinela"))
                .withListTables((session, schema) -> areTables ? new ArrayList<>(tables.keySet()) : List.of())
                .withGetTableHandle((session, name) -> areTables && tables.containsKey(name.getTableName()) ? new MockConnectorTableHandle(name) : null)
                .withGetViews((session, prefix) -> views)
                .withGetColumns(name -> tables.get(name.getTableName()))
                .build(), ImmutableMap.of());
        return runner;
    }

    private static SchemaTableName named(String table) {
        return new SchemaTableName("centinela", table);
    }

    private static ConnectorViewDefinition view(String sql, List<ColumnMetadata> columns) {
        List<ViewColumn> named = columns.stream()
                .map(column -> new ViewColumn(column.getName(), column.getType().getTypeId(), Optional.empty())).collect(Collectors.toList());
        return new ConnectorViewDefinition(sql, Optional.of("awsdatacatalog"), Optional.of("centinela"), named, Optional.empty(),
                Optional.of("analyst"), false);
    }

    private static List<ColumnMetadata> columns(LocalQueryRunner runner, Map<String, String> types, String... names) {
        return Stream.of(names).map(name -> new ColumnMetadata(name, runner.getTypeManager().fromSqlType(types.get(name))))
                .collect(Collectors.toList());
    }

    /** The tables of tables.sql with Trino's types. */
    private static Map<String, List<ColumnMetadata>> tables(LocalQueryRunner runner, Path sql) throws Exception {
        Map<String, String> types = Map.of("BIGINT", "bigint", "BLOB", "varbinary", "BOOLEAN", "boolean", "DOUBLE", "double",
                "DOUBLE[]", "array(double)", "INTEGER", "integer", "TIMESTAMP", "timestamp(3)", "VARCHAR", "varchar",
                "VARCHAR[]", "array(varchar)", "STRUCT(code VARCHAR, contribution DOUBLE)[]",
                "array(row(\"code\" varchar, \"contribution\" double))");
        Map<String, List<ColumnMetadata>> tables = new LinkedHashMap<>();
        List<ColumnMetadata> current = new ArrayList<>();
        for (String line : Files.readAllLines(sql.resolve("tables.sql"))) {
            if (line.startsWith("CREATE TABLE ")) {
                current = new ArrayList<>();
                tables.put(line.split(" ")[2], current);
            } else if (line.startsWith("    ")) {
                String[] column = line.trim().split("  ")[0].replaceAll(",$", "").split(" ", 2);
                current.add(new ColumnMetadata(column[0].replace("\"", ""), runner.getTypeManager().fromSqlType(types.get(column[1]))));
            }
        }
        return tables;
    }
}
