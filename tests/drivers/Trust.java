// The JDBC driver at every mode, with its own cancellation; run from this source by the java launcher.
//
// usage: java -cp postgresql.jar Trust.java MODE=ADDRESS …

import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.Properties;

public class Trust {
    public static void main(String[] arguments) {
        for (String argument : arguments) {
            String mode = argument.split("=")[0];
            String address = argument.split("=")[1];
            for (String sslmode : new String[] {"disable", "prefer", "require", "verify-ca"}) {
                boolean wantsTls = !sslmode.equals("disable") && !sslmode.equals("prefer");
                boolean works = !(mode.equals("plaintext") && wantsTls);
                String got;
                boolean ok;
                try {
                    got = once(mode, address, sslmode);
                    ok = works && got.equals("42 57014");
                } catch (Exception failure) {
                    got = String.valueOf(failure.getMessage());
                    ok = !works && got.contains("SSL");
                }
                report("jdbc " + mode + " " + sslmode, ok, got);
            }
        }
        report("finished", true, "");
    }

    static String once(String mode, String address, String sslmode) throws Exception {
        Properties options = new Properties();
        options.setProperty("user", "by_scram");
        options.setProperty("password", mode.equals("inject") ? "a placeholder" : System.getenv("PASSWORD"));
        options.setProperty("sslmode", sslmode);
        options.setProperty("sslrootcert", System.getenv("PGSSLROOTCERT"));
        options.setProperty("connectTimeout", "60");
        String url = "jdbc:postgresql://" + address + ":" + System.getenv("PGPORT") + "/" + System.getenv("PGDATABASE");
        try (Connection connection = DriverManager.getConnection(url, options);
                Statement statement = connection.createStatement()) {
            int value;
            try (ResultSet rows = statement.executeQuery("select 42")) {
                rows.next();
                value = rows.getInt(1);
            }
            // The driver cancels when the time is over.
            statement.setQueryTimeout(1);
            try {
                statement.execute("select pg_sleep(120)");
                return value + " not cancelled";
            } catch (SQLException cancelled) {
                return value + " " + cancelled.getSQLState();
            }
        }
    }

    static void report(String name, boolean ok, String got) {
        String text = got.replace("\\", "\\\\").replace("\"", "'").replace("\n", " ").replace("\t", " ");
        System.out.println("{\"case\": \"" + name + "\", \"ok\": " + ok + ", \"got\": \"" + text + "\"}");
    }
}
