/*
 * catalog.h - operators for questions to the catalog, by their full names.
 *
 * A schema that stands before pg_catalog in the search_path may have an operator of its own, which
 * would be called with the rights of whoever migrates. It is not called by what is written with
 * these. They all bind alike and more tightly than =, so what is left of || needs parentheses.
 */
#ifndef PGASIDE_CATALOG_H
#define PGASIDE_CATALOG_H

#define EQ " OPERATOR(pg_catalog.=) "
#define NE " OPERATOR(pg_catalog.<>) "
#define LT " OPERATOR(pg_catalog.<) "
#define GE " OPERATOR(pg_catalog.>=) "
#define GT " OPERATOR(pg_catalog.>) "
#define CAT " OPERATOR(pg_catalog.||) "

#endif
