#!/bin/sh
# Run once by the official postgres image on an empty volume: every service gets its database and its two roles.
set -eu
for service in feedback incidents reporting; do
    prefix=$(echo "$service" | tr '[:lower:]' '[:upper:]')
    eval "owner_password=\$${prefix}_OWNER_PASSWORD app_password=\$${prefix}_APP_PASSWORD"
    SERVICE="$service" OWNER_PASSWORD="$owner_password" APP_PASSWORD="$app_password" \
        psql --no-psqlrc --username "$POSTGRES_USER" --dbname postgres --file /provision/service.sql
done
