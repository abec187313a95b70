# loyalty: build with PGXS; `make demo` and `make test` are the two commands to know.

EXTENSION   = loyalty
EXTVERSION  = $(shell sed -n "s/^default_version = '\(.*\)'/\1/p" loyalty.control)

MODULE_big  = loyalty
OBJS        = $(patsubst %.c,%.o,$(sort $(wildcard src/*.c src/*/*.c)))
PG_CPPFLAGS = -I$(srcdir)/src
PG_CFLAGS   = -std=gnu11 -Wall -Wextra -Wno-unused-parameter -Wno-missing-field-initializers -MMD -MP $(EXTRA_CFLAGS)
# What the server itself was linked with; a server without OpenSSL has none.
SHLIB_LINK  = -lm $(filter -lcrypto, $(LIBS))

SCRIPT      = build/$(EXTENSION)--$(EXTVERSION).sql
PARTS       = $(addprefix sql/,$(shell sed '/^\#/d' sql/manifest))
DATA        = $(wildcard sql/upgrades/*.sql)
DATA_built  = $(SCRIPT)

REGRESS        = $(sort $(basename $(notdir $(wildcard test/sql/*.sql))))
REGRESS_OPTS   = --inputdir=test
ISOLATION      = $(sort $(basename $(notdir $(wildcard test/isolation/specs/*.spec))))
ISOLATION_OPTS = --inputdir=test/isolation --outputdir=build/isolation

EXTRA_CLEAN = build $(OBJS:.o=.d)

PG_CONFIG  ?= pg_config
# Inlining C functions into JIT code gains nothing here and needs clang.
override with_llvm = no

.DEFAULT_GOAL := all

# These work on a machine that has nothing yet, so they must not need PGXS.
RUN_GOALS   = demo demo-stop test test-servers test-sanitized bench deps
.PHONY: $(RUN_GOALS)

demo test bench:
	@$@/run
test-servers test-sanitized:
	@$(subst -,/,$@)
demo-stop:
	@demo/stop
deps:
	@test/harness/deps

ifeq ($(filter $(RUN_GOALS),$(MAKECMDGOALS)),)
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)
-include $(OBJS:.o=.d)
endif

$(SCRIPT): sql/manifest $(PARTS) loyalty.control
	@mkdir -p build
	@{ printf '%s\n' '\echo Use "CREATE EXTENSION $(EXTENSION)" to load this file. \quit'; cat $(PARTS); } > $@.tmp
	@mv $@.tmp $@

# Its cluster may live in build/.
clean: demo-stop
