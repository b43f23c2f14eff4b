// A small migrator with a transaction for each file. The argument is the driver: pq or pgx by
// database/sql, pgx-native by its own interface; sql-migrate is the library of that name.
package main

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"sort"

	"github.com/jackc/pgx/v4"
	_ "github.com/jackc/pgx/v4/stdlib"
	_ "github.com/lib/pq"
	migrate "github.com/rubenv/sql-migrate"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func texts() (names []string, texts []string) {
	names, err := filepath.Glob("migrations/*.sql")
	check(err)
	sort.Strings(names)
	for _, name := range names {
		text, err := os.ReadFile(name)
		check(err)
		texts = append(texts, string(text))
	}
	return names, texts
}

const table = "CREATE TABLE IF NOT EXISTS migrations (name text PRIMARY KEY)"
const done = "SELECT count(*) FROM migrations WHERE name = $1"
const insert = "INSERT INTO migrations VALUES ($1)"

func byInterface(db *sql.DB) {
	_, err := db.Exec(table)
	check(err)
	names, texts := texts()
	for i, name := range names {
		var count int
		check(db.QueryRow(done, name).Scan(&count))
		if count > 0 {
			continue
		}
		tx, err := db.Begin()
		check(err)
		_, err = tx.Exec(texts[i])
		check(err)
		_, err = tx.Exec(insert, name)
		check(err)
		check(tx.Commit())
	}
	check(db.Close())
}

func native(url string) {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, url)
	check(err)
	_, err = conn.Exec(ctx, table)
	check(err)
	names, texts := texts()
	for i, name := range names {
		var count int
		check(conn.QueryRow(ctx, done, name).Scan(&count))
		if count > 0 {
			continue
		}
		check(conn.BeginFunc(ctx, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, texts[i]); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, insert, name)
			return err
		}))
	}
	check(conn.Close(ctx))
}

func main() {
	url := os.Getenv("DATABASE_URL")
	switch os.Args[1] {
	case "pq", "sql-migrate":
		// Without this lib/pq insists on TLS.
		db, err := sql.Open("postgres", url+"?sslmode=disable")
		check(err)
		if os.Args[1] == "pq" {
			byInterface(db)
			return
		}
		_, err = migrate.Exec(db, "postgres", &migrate.FileMigrationSource{Dir: "migrations"}, migrate.Up)
		check(err)
	case "pgx":
		db, err := sql.Open("pgx", url)
		check(err)
		byInterface(db)
	case "pgx-native":
		native(url)
	}
}
