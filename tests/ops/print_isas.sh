#!/bin/sh
# print_isas.sh BUILD: the instruction sets that the conformance tests of the last ctest went through.
log=$1/Testing/Temporary/LastTest.log
echo "Instruction sets tested: $(sed -n 's/^instruction set: //p' "$log" | sort -u | tr '\n' ' ')"
