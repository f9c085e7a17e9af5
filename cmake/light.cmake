# What runs once or does not count, tests and the command line, gains nothing from more than this but a longer build.
set(light_flags $<$<CONFIG:Release>:-O1>)
if(DARKROOM_SANITIZE)
  set(light_flags -O0)
endif()
