/**
 * Versions of the peers, all of them run together on one machine in November 2026. The folders of the cache carry them in their names: a new pin
 * is a new installation. `docker-compose.yml` names the same versions (test/architecture/compose.test.ts).
 */
export const PINS = {
  kafka: '4.4.0',
  /** The binding for the slf4j-api 1.7 that Kafka brings; without it the broker says nothing, not even why it ends. */
  log4jBinding: '2.25.5',
  /** Compiled for Java 21. */
  apicurio: '3.3.3',
  /** The last that runs on Java 17. */
  apicurioForJava17: '2.6.13.Final',
  versitygw: '1.8.0',
  mlflow: '3.17.2',
  /** With numpy, whose floating point its answers depend on. */
  optuna: '5.0.0',
  numpy: '2.4.6',
} as const;
