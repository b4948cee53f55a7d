"""Everything that needs Spark. Nothing is imported here, so that `import zoo_keras` stays quick:
import the modules by name, and only when an RDD, a DataFrame or a session is at hand."""
