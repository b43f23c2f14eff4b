# pgaside: build, tests, demo. `make help` lists the targets.
.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules --no-print-directory

# As many jobs as there are processors, unless -j says otherwise. A compiler's messages come in one
# piece; suites that take minutes show their lines as they come.
ifeq ($(MAKELEVEL),0)
ifeq (,$(findstring -j,$(MAKEFLAGS)))
MAKEFLAGS += -j$(shell nproc)
endif
endif
ifeq (,$(filter test demo integration asan e2e e2e-all lint bench bench-full,$(MAKECMDGOALS)))
MAKEFLAGS += --output-sync=line
endif

BUILD ?= build
SANITIZE ?=
CC := $(if $(filter default,$(origin CC)),gcc,$(CC))
V ?= 0
Q := $(if $(filter 1,$(V)),,@)

PACKAGES := libevent_core libevent_extra libevent_pthreads openssl libpq inih libidn libsystemd
PKG_CFLAGS := $(shell pkg-config --cflags $(PACKAGES) 2>/dev/null)
PKG_LIBS := $(shell pkg-config --libs $(PACKAGES) 2>/dev/null)
ifeq (,$(PKG_LIBS))
ifneq (,$(filter-out help deps test demo clean uninstall,$(or $(MAKECMDGOALS),all)))
$(error pkg-config, or one of $(PACKAGES), is missing: `make deps` installs what the build needs)
endif
endif

WARNINGS := -Wall -Wextra -Wpedantic -Werror -Wshadow -Wvla -Wundef -Wcast-align -Wcast-qual \
	-Wpointer-arith -Wwrite-strings -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition \
	-Wformat=2 -Wimplicit-fallthrough -Wnull-dereference
ifneq (,$(findstring gcc,$(shell $(CC) --version 2>/dev/null | head -n 1)))
WARNINGS += -Wlogical-op -Wduplicated-cond -Wduplicated-branches -Wjump-misses-init
endif
SOURCE_WARNINGS := -Wconversion -Wsign-conversion

OPT ?= -O2 -g
HARDEN := $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-omit-frame-pointer \
	-fno-sanitize-recover=all,-D_FORTIFY_SOURCE=2) -fstack-protector-strong -fPIE -fvisibility=hidden \
	-fno-common
INCLUDES := -Iinclude -Iproxy -Itests/support
CPPFLAGS_ALL = -D_GNU_SOURCE $(INCLUDES) $(CPPFLAGS)
CFLAGS_ALL = -std=c11 -pthread $(OPT) $(WARNINGS) $(HARDEN) $(PKG_CFLAGS) $(CFLAGS)
LDFLAGS_ALL = -pie -pthread -Wl,-z,relro,-z,now,--as-needed $(if $(SANITIZE),-fsanitize=$(SANITIZE)) \
	$(LDFLAGS)

SOURCES := $(wildcard protocol/*.c proxy/*.c)
OBJECTS := $(SOURCES:%.c=$(BUILD)/%.o)
PROTOCOL := $(filter $(BUILD)/protocol/%,$(OBJECTS))
PROXY := $(filter-out $(BUILD)/proxy/main.o,$(filter $(BUILD)/proxy/%,$(OBJECTS)))
SUPPORT := $(patsubst %.c,$(BUILD)/%.o,$(wildcard tests/support/*.c))

# $(call programs,DIRECTORY,PREFIX): one program for each PREFIX*.c there.
programs = $(patsubst %.c,$(BUILD)/%,$(wildcard tests/$(1)/$(2)*.c))
UNIT := $(call programs,unit,test_)
ORACLE := $(call programs,oracle,)
INTEGRATION := $(call programs,integration,test_)
REPLAY := $(call programs,fuzz,fuzz_)
FUZZ := $(REPLAY:$(BUILD)/tests/fuzz/%=$(BUILD)/%)

.PHONY: drivers e2e-all install uninstall man deb package fuzz tsan tsan-suites valgrind versions chaos matrix test-matrix help all deps unit oracle golden fuzz-build fuzz-replay lint tidy format clang everything check \
	integration e2e asan asan-suites test demo bench bench-full clean
.DEFAULT_GOAL := all

help:
	@echo 'make               build/pgaside'
	@echo 'make demo          a migration that PostgreSQL refuses, then the same through pgaside'
	@echo 'make test          everything below, after installing what is missing'
	@echo 'make check         unit, oracle, golden, fuzz-replay, lint: no network, no server'
	@echo 'make unit          tests/unit'
	@echo 'make oracle        the lexer against the real grammar of PostgreSQL'
	@echo 'make golden        recorded conversations'
	@echo 'make fuzz-replay   the fuzz corpora, without a fuzzer'
	@echo 'make fuzz-build    build/fuzz/fuzz_*: run one with its corpus directory'
	@echo 'make lint          layers, sizes, formatting, clang-tidy, cppcheck, shellcheck'
	@echo 'make format        what lint asks for, by clang-format'
	@echo 'make clang         everything once more with clang, in build/clang'
	@echo 'make integration   against a throwaway PostgreSQL'
	@echo 'make fuzz          each fuzzer for FUZZ_SECONDS (5)'
	@echo 'make valgrind      unit under memcheck'
	@echo 'make tsan          what uses several workers, under ThreadSanitizer'
	@echo 'make drivers       the test suites of Go drivers, directly and through pgaside'
	@echo 'make versions      a part of integration with PostgreSQL 14, 16, 17 and 18 (npm)'
	@echo 'make chaos         real tools migrate while everything around them is killed at random'
	@echo 'make asan          unit, fuzz-replay and integration under ASan and UBSan'
	@echo 'make e2e           real migration tools; tests/e2e/run CASE runs one'
	@echo 'make e2e-all       more cases of them'
	@echo 'make bench         what pgaside costs, beside pgbouncer and HAProxy: five minutes'
	@echo 'make instructions  those of a message, counted by callgrind, against what is kept'
	@echo 'make bench-full    the same with longer rounds: an hour'
	@echo 'make install       to PREFIX (/usr/local) below DESTDIR; make uninstall'
	@echo 'make deb           a package for Debian 12, in build/deb'
	@echo 'make package       looks at what install and deb make, and at the files of conf/'
	@echo 'make deps          install what the build needs (apt)'
	@echo 'make clean'
	@echo 'V=1 shows commands, BUILD=directory builds elsewhere.'

all: $(BUILD)/pgaside

# Where things go, in the words of the GNU coding standards.
prefix ?= $(or $(PREFIX),/usr/local)
exec_prefix ?= $(prefix)
bindir ?= $(exec_prefix)/bin
sysconfdir ?= $(if $(filter /usr,$(prefix)),/etc,$(prefix)/etc)
datarootdir ?= $(prefix)/share
mandir ?= $(datarootdir)/man
docdir ?= $(datarootdir)/doc/pgaside
systemdsystemunitdir ?= $(prefix)/lib/systemd/system
INSTALL ?= install
INSTALL_PROGRAM ?= $(INSTALL) -m 0755
INSTALL_DATA ?= $(INSTALL) -m 0644

# The settings of the manual come from the sample file, which a test compares with the program.
man: $(BUILD)/man/pgaside.1 $(BUILD)/man/pgaside.ini.5
$(BUILD)/man/%: conf/man/%
	@mkdir -p $(@D)
	$(Q)cp $< $@
$(BUILD)/man/pgaside.ini.5: conf/man/pgaside.ini.5.in conf/man/settings.awk conf/pgaside.ini
	@mkdir -p $(@D)
	$(Q)awk -f conf/man/settings.awk conf/pgaside.ini >$(BUILD)/settings.mdoc
	$(Q)sed -e '/^@SETTINGS@/{r $(BUILD)/settings.mdoc' -e 'd}' $< >$@

# The unit of systemd as it is for these directories.
$(BUILD)/pgaside.service: conf/pgaside.service FORCE
	@mkdir -p $(@D)
	$(Q)sed -e 's|/usr/local/bin/|$(bindir)/|g' -e 's|--config /etc/|--config $(sysconfdir)/|g' \
		-e '1,/^$$/d' $< >$@
.PHONY: FORCE
FORCE:

# The configuration is left to whoever runs it, as $(docdir) has a sample; the package brings one.
INSTALLED := $(bindir)/pgaside $(mandir)/man1/pgaside.1 $(mandir)/man5/pgaside.ini.5 \
	$(systemdsystemunitdir)/pgaside.service $(docdir)/README.md $(docdir)/CHANGELOG.md \
	$(docdir)/pgaside.ini $(docdir)/minimal.ini
install: all man $(BUILD)/pgaside.service
	$(Q)for directory in $(sort $(dir $(INSTALLED))); do \
		$(INSTALL) -d "$(DESTDIR)$$directory" || exit 1; done
	$(Q)$(INSTALL_PROGRAM) $(BUILD)/pgaside $(DESTDIR)$(bindir)/
	$(Q)$(INSTALL_DATA) $(BUILD)/man/pgaside.1 $(DESTDIR)$(mandir)/man1/
	$(Q)$(INSTALL_DATA) $(BUILD)/man/pgaside.ini.5 $(DESTDIR)$(mandir)/man5/
	$(Q)$(INSTALL_DATA) $(BUILD)/pgaside.service $(DESTDIR)$(systemdsystemunitdir)/
	$(Q)$(INSTALL_DATA) README.md CHANGELOG.md conf/pgaside.ini conf/minimal.ini $(DESTDIR)$(docdir)/

uninstall:
	$(Q)rm -f $(addprefix $(DESTDIR),$(INSTALLED))

# conf/debian has what is special about Debian.
deb: all man
	@BUILD=$(BUILD) conf/debian/build

# What `install` and `deb` bring is what they say; with the tools of Debian and no network.
package: all man
	@$(SUITE) $@ tests/package/run

deps:
	@tests/support/install-deps.sh build

$(BUILD)/pgaside: $(OBJECTS)
	@echo "  LD    $@"
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(PKG_LIBS)

$(BUILD)/libprotocol.a: $(PROTOCOL)
$(BUILD)/libproxy.a: $(PROXY)
$(BUILD)/libsupport.a: $(SUPPORT)
$(BUILD)/%.a:
	@echo "  AR    $@"
	$(Q)rm -f $@ && ar rcs $@ $^

# protocol/ sees the contracts and nothing of the program.
$(BUILD)/protocol/%.o: INCLUDES := -Iinclude
$(BUILD)/protocol/%.o $(BUILD)/proxy/%.o: WARNINGS += $(SOURCE_WARNINGS)
# The assembler reads it (.incbin), which -MMD does not see.
$(BUILD)/proxy/http_page.o: proxy/page.html
$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC    $<"
	$(Q)$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<

# The unit test of a module of protocol/ is linked with that half alone: it needs no other.
PURE := $(foreach t,$(UNIT),$(if $(wildcard $(t:$(BUILD)/tests/unit/test_%=protocol/%.c)),$(t)))
TEST_LIBS := $(if $(SUPPORT),$(BUILD)/libsupport.a) $(BUILD)/libproxy.a $(BUILD)/libprotocol.a
$(PURE): $(BUILD)/libprotocol.a
$(filter-out $(PURE),$(UNIT)) $(ORACLE) $(INTEGRATION) $(REPLAY) $(FUZZ): $(TEST_LIBS)
$(ORACLE) $(REPLAY) $(FUZZ): EXTRA_LIBS := -lpg_query
$(REPLAY): $(BUILD)/tests/fuzz/replay.o
$(UNIT) $(ORACLE) $(INTEGRATION) $(REPLAY): %: %.o
	@echo "  LD    $@"
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(PKG_LIBS) -lcmocka $(EXTRA_LIBS)

$(FUZZ): $(BUILD)/%: $(BUILD)/tests/fuzz/%.o
	@echo "  LD    $@"
	$(Q)$(CC) $(LDFLAGS_ALL) -fsanitize=fuzzer -o $@ $< $(filter %.a,$^) $(PKG_LIBS) $(EXTRA_LIBS)

# A suite runs its programs from this directory, with PGASIDE naming the program under test.
SUITE = BUILD=$(BUILD) PGASIDE=$(BUILD)/pgaside tests/support/suite.sh

unit: $(UNIT)
	@$(SUITE) $@ $(UNIT)

oracle: $(ORACLE)
	@$(SUITE) $@ $(ORACLE)

golden: $(BUILD)/pgaside
	@if [ -e tests/golden/run ]; then $(SUITE) $@ tests/golden/run; else echo "golden: 0 passed, 0 failed"; fi

fuzz-build:
	@$(MAKE) CC=clang BUILD=build/fuzz SANITIZE=fuzzer-no-link,address,undefined fuzzers
.PHONY: fuzzers
fuzzers: $(FUZZ)

fuzz: fuzz-build
	@tests/fuzz/run $(sort $(FUZZ:$(BUILD)/%=build/fuzz/%))

fuzz-replay: $(REPLAY)
	@$(SUITE) $@ $(REPLAY)

# Other servers than Debian's, by npm.
.PHONY: servers
servers:
	@tests/matrix/install-servers.sh >/dev/null

integration: $(INTEGRATION) $(BUILD)/pgaside servers
	@$(SUITE) $@ $(INTEGRATION)

e2e: $(BUILD)/pgaside
	@PGASIDE=$(BUILD)/pgaside tests/e2e/run
	@PGASIDE=$(BUILD)/pgaside tests/e2e/trouble
e2e-all: $(BUILD)/pgaside
	@PGASIDE=$(BUILD)/pgaside tests/e2e/run --all

# A stamp a file, so that only what changed is looked at again.
TIDY := $(SOURCES:%.c=$(BUILD)/lint/%.tidy)
tidy: $(TIDY)
$(BUILD)/lint/protocol/%.tidy: INCLUDES := -Iinclude
$(BUILD)/lint/%.tidy: %.c $(BUILD)/%.o .clang-tidy
	@mkdir -p $(@D)
	@echo "  TIDY  $<"
	$(Q)clang-tidy --quiet $< -- -std=c11 $(CPPFLAGS_ALL) $(PKG_CFLAGS) 2>$@.log || \
		{ grep -v 'warnings\? generated' $@.log; exit 1; }
	@touch $@

lint:
	@CC=$(CC) BUILD=$(BUILD) MAKE=$(MAKE) PKG_CFLAGS="$(PKG_CFLAGS)" tests/lint/run

format:
	@clang-format -i $(wildcard include/*.h protocol/*.[ch] proxy/*.[ch] tests/*/*.[ch] bench/*.[ch])

everything: all $(UNIT) $(ORACLE) $(INTEGRATION) $(REPLAY)

clang:
	@$(MAKE) CC=clang BUILD=build/clang everything

check: unit oracle golden fuzz-replay lint

# Leaks are looked for at the end of every program, pgaside included.
asan:
	@$(MAKE) BUILD=build/asan SANITIZE=address,undefined OPT='-O1 -g' asan-suites
asan-suites: export UBSAN_OPTIONS := print_stacktrace=1
asan-suites: export TEST_WORKERS := 2
asan-suites: everything servers
	@$(SUITE) asan $(UNIT) $(REPLAY) $(INTEGRATION)

valgrind: $(UNIT)
	@UNDER="valgrind -q --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite" \
		$(SUITE) $@ $(UNIT)

# Sessions on several workers, reloaded, ended, taken over.
THREADED := $(filter $(foreach t,concurrency faults relay_load reload service shutdown,%/test_$(t)),\
	$(INTEGRATION))
# What is pure has no threads.
SHARED_UNIT := $(filter-out $(PURE),$(UNIT))
tsan:
	@$(MAKE) BUILD=build/tsan SANITIZE=thread OPT='-O1 -g' tsan-suites
tsan-suites: export TSAN_OPTIONS := halt_on_error=1 second_deadlock_stack=1
tsan-suites: export TEST_WORKERS := 2
tsan-suites: all $(SHARED_UNIT) $(THREADED)
	@UNDER="setarch -R" $(SUITE) tsan $(SHARED_UNIT) $(THREADED)

# What depends on the server most. test_aside_query does, too, but 18 reports search_path as well.
SPREAD := $(filter $(foreach t,aside aside_commit aside_errors aside_extended aside_settings cancel concurrency faults \
	login owed_commit relay replaced rollback,%/test_$(t)),$(INTEGRATION))
versions: $(SPREAD) $(BUILD)/pgaside
	@for bin in $$(tests/matrix/install-servers.sh); do \
		PG_BIN=$$bin $(SUITE) versions/$$(expr $$bin : '.*postgres-\([0-9]*\)') $(SPREAD) || exit 1; done

drivers: $(BUILD)/pgaside
	@PGASIDE=$(BUILD)/pgaside BUILD=$(BUILD) tests/drivers/run

chaos: $(BUILD)/pgaside
	@PGASIDE=$(BUILD)/pgaside tests/chaos/run

# Every state of a transaction x every statement, against what PostgreSQL does: a part, or all on every server.
matrix: $(BUILD)/pgaside
	@PGASIDE=$(BUILD)/pgaside tests/matrix/run --subset 60
	@for bin in $$(tests/matrix/install-servers.sh); do \
		PGASIDE=$(BUILD)/pgaside tests/matrix/run --subset 30 --bin $$bin || exit 1; done
test-matrix: $(BUILD)/pgaside
	@PGASIDE=$(BUILD)/pgaside tests/matrix/run
	@for bin in $$(tests/matrix/install-servers.sh); do \
		PGASIDE=$(BUILD)/pgaside tests/matrix/run --bin $$bin || exit 1; done

# Each suite has its budget in minutes, on two processors: tests/README.md. One that is over fails.
BUDGETS := everything:4 clang:4 check:6 package:4 integration:10 valgrind:3 fuzz:3 matrix:8 chaos:4 drivers:4 versions:12 \
	asan:15 tsan:9 e2e:20
budget = $(lastword $(subst :, ,$(filter $(1):%,$(BUDGETS))))
within = $(subst @,$(1),timeout --foreground -k 30 $(call budget,$(1))m $(MAKE) @ || { status=$$?; \
	[ $$status -ne 124 ] || echo "@: more than its $(call budget,$(1)) minutes"; exit $$status; })
define newline


endef

test:
	@tests/support/install-deps.sh test
	$(foreach b,$(BUDGETS),+@$(call within,$(firstword $(subst :, ,$(b))))$(newline))

demo:
	@tests/support/install-deps.sh demo
	@$(MAKE) all
	@PGASIDE=$(BUILD)/pgaside tests/e2e/demo.sh

# Fails when pgaside executes more instructions for a message than what is kept says.
.PHONY: instructions
instructions: $(BUILD)/pgaside
	@tests/support/install-deps.sh bench
	@PGASIDE=$(BUILD)/pgaside bench/instructions --check

# What pgaside costs, beside other proxies: bench/README.md.
$(BUILD)/bench/search: %: %.o $(BUILD)/libprotocol.a
	@echo "  LD    $@"
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^
bench bench-full: $(BUILD)/pgaside $(BUILD)/bench/search
	@tests/support/install-deps.sh bench
	@BUILD=$(BUILD) PGASIDE=$(BUILD)/pgaside bench/run $(if $(filter bench-full,$@),--full) $(BENCH)

clean:
	rm -rf build

-include $(OBJECTS:.o=.d) $(SUPPORT:.o=.d) $(BUILD)/bench/search.d
-include $(addsuffix .d,$(UNIT) $(ORACLE) $(INTEGRATION) $(REPLAY)) $(BUILD)/tests/fuzz/replay.d
