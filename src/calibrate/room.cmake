darkroom_room(calibrate SOURCES rules.cc salience.cc matrix_rows.cc bounds.cc calibrate.cc DEPS pipeline
                  checkpoint models weights options ops)
