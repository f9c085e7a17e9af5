# What runs once or does not count, tests and the command line, gains nothing from -O2 but a longer build.
set(light_flags $<$<CONFIG:Release>:-O1>)
