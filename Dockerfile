# One image per service, from source: docker build --build-arg SERVICE=gateway -t trainyard/gateway .
FROM node:24-bookworm-slim

ENV NODE_ENV=production
# The CPU binary is in the package; its install script would fetch CUDA libraries.
ENV ONNXRUNTIME_NODE_INSTALL=skip

WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# Optional packages are Node and PostgreSQL for machines without them; the image has Node and is given a database.
RUN npm ci --omit=dev --omit=optional \
  && npm cache clean --force \
  && find node_modules/onnxruntime-node/bin -mindepth 2 -maxdepth 2 -type d ! -name linux -exec rm -rf {} + \
  && find node_modules/onnxruntime-node/bin -mindepth 3 -maxdepth 3 -type d ! -name "$(node -p process.arch)" -exec rm -rf {} +
COPY lib ./lib
COPY services ./services
# `trainyard migrate`, the deploy step.
COPY cli ./cli

ARG SERVICE
RUN test -f "services/${SERVICE}/main.ts" \
  && mkdir -p /var/lib/trainyard/workspace /var/lib/trainyard/objects \
  && chown -R node:node /var/lib/trainyard

ENV HOST=0.0.0.0
ENV HEALTH_PORT=8081
ENV TRAINYARD_HOME=/var/lib/trainyard
ENV WORKSPACE_DIR=/var/lib/trainyard/workspace
USER node
EXPOSE 8080 8081
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.HEALTH_PORT}/healthz`).then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]

WORKDIR /app/services/${SERVICE}
# Node itself is process 1 and gets SIGTERM: workers save their checkpoints within STOP_TIMEOUT_MS.
CMD ["node", "main.ts"]
